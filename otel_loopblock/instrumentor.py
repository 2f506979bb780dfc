"""``LoopBlockInstrumentor``: wires configuration, emitter and runtime; the shape contrib packages have."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import partial
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otel_loopblock import core, guard, threads
from otel_loopblock.config import Config
from otel_loopblock.declarative import Configuration, switched_off
from otel_loopblock.emit.emitter import Emitter
from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.hooks import unhooked
from otel_loopblock.package import _instruments
from otel_loopblock.runtime import runtime
from otel_loopblock.version import __version__
from otel_loopblock.watch.loops import loops

_logger = logging.getLogger("otel_loopblock")

_PROVIDERS = ("tracer_provider", "meter_provider", "logger_provider")
_OF_THE_LOADER = ("skip_dep_check", "raise_exception_on_conflict")


class LoopBlockInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Finds what blocks the event loops of this process and reports it.

    ``opentelemetry-instrument`` finds it by its entry point; by hand::

        from otel_loopblock import LoopBlockInstrumentor

        LoopBlockInstrumentor().instrument(threshold_ms=20)

    It is a singleton, as every OpenTelemetry instrumentor is.
    """

    configuration = Configuration
    """What declarative configuration reads the options of a file into."""

    _emitter: Emitter | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing: asyncio is part of Python, uvloop is hooked if and when it is imported."""
        return _instruments

    def instrument(self, **kwargs: Any) -> None:
        """Start, or start again with other options.

        Args:
            **kwargs: the options of :class:`otel_loopblock.config.Config` (durations in milliseconds),
                and ``tracer_provider``, ``meter_provider``, ``logger_provider``; the global ones,
                looked up when needed, by default. ``core``: ``native`` or ``pure``, where only that one will
                do.

        Called again without options it changes nothing, quietly: the loader of auto-instrumentation
        may come by twice. Called again with options, these replace the former ones.

        All or nothing: where it fails, where gevent or eventlet has replaced threads, and in a
        sub-interpreter, nothing is instrumented, and the log says so.

        Raises:
            ValueError: an option is unknown or has a value that cannot be used, or another core than the
                wanted one is active; nothing has changed then.
        """
        try:
            chosen = {name: value for name, value in kwargs.items() if name not in _OF_THE_LOADER}
            is_again = self.is_instrumented_by_opentelemetry
            if is_again and not chosen:
                return
            if "skip_dep_check" in kwargs and not chosen and switched_off():  # only the loader says so
                return
            loaded = self._load(chosen)  # before anything changes
        except (ImportError, ValueError):
            raise
        except Exception:
            self._is_instrumented_by_opentelemetry = True  # of which nothing is to be undone
            guard.failed("read the options")
            return
        try:
            if is_again:
                self.uninstrument()
            of_the_loader = {name: kwargs[name] for name in _OF_THE_LOADER if name in kwargs}
            super().instrument(loaded=loaded, **of_the_loader)
        except Exception:  # to raise would keep the loader from all other instrumentors
            self._is_instrumented_by_opentelemetry = True
            guard.failed("instrument")

    def uninstrument(self, **kwargs: Any) -> None:
        """Take everything away again."""
        try:
            super().uninstrument(**kwargs)
        except Exception:
            guard.failed("uninstrument")
        finally:
            self._is_instrumented_by_opentelemetry = False

    def _instrument(self, *, loaded: tuple[Config, dict[str, Any]]) -> None:
        if not threads.may_start():
            return
        try:
            self._start(*loaded)
        except BaseException:
            self._uninstrument()
            raise

    def _start(self, config: Config, providers: dict[str, Any]) -> None:
        table = AdviceTable()
        table.load_entry_points()
        table.register(config.advice)
        self._emitter = Emitter(
            config,
            monitors=loops.monitors,
            unknown=unhooked.found,
            fetch_samples=runtime.fetch_samples,
            table=table,
            **providers,
        )
        self._emitter.begin()
        _logger.debug(
            "otel_loopblock %s begins, %s core%s", __version__, core.NAME, core.WHY and f": {core.WHY}"
        )
        runtime.add(self._emitter)

    def _uninstrument(self, **kwargs: Any) -> None:
        emitter, self._emitter = self._emitter, None
        if emitter is None:
            return
        try:
            guard.call_all(
                "uninstrument", emitter.release_spans, partial(runtime.remove, emitter), emitter.end
            )
        finally:  # if one of these has failed, or was interrupted
            guard.call_all(
                "uninstrument",
                emitter.patches.restore,
                partial(runtime.drop, emitter),
                emitter.worker.dismiss,
            )

    @staticmethod
    def _load(kwargs: dict[str, Any]) -> tuple[Config, dict[str, Any]]:
        given = dict(kwargs)
        wanted_core = given.pop("core", None)
        if wanted_core is not None:
            core.require(wanted_core)
        providers = {name: given.pop(name, None) for name in _PROVIDERS}
        return Config.load(given), providers
