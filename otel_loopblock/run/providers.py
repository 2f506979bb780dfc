"""Adds ours to whatever providers a process makes, and lets an application's own take the place of the first.

Without us an application that sets up OpenTelemetry in code has the only providers. Instrumented from outside
it comes second, and the API refuses it. So the global tracer provider is one that can be exchanged once, and
the first meter provider, where nobody is to be exported to, is set only when the application had its chance.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import wrapt
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from otel_loopblock.run.sending import Line, Reader, batches

SETTLED_S = 4.0
"""An application that has imported nothing for so long has set up what it will."""
LAST_MS = 1000
"""What is sent at last may take so long."""


def share(line: Line, *, alone: bool) -> Callable[[], None]:
    """Put the hooks in place.

    Args:
        line: where telemetry is sent.
        alone: whether the environment names nobody else to export to.

    Returns:
        What is to be called once the environment's providers are set. It sets those that are missing: a
        configuration file need not name them all.
    """

    ours: list[BatchSpanProcessor | Reader] = []

    def add_processor(init: Any, provider: Any, args: Any, kwargs: Any) -> None:
        init(*args, **kwargs)
        processor = batches(line)
        provider.add_span_processor(processor)
        ours.append(processor)

    def add_reader(init: Any, provider: Any, args: Any, kwargs: Any) -> None:
        reader = Reader(line)
        if args:
            init((*args[0], reader), *args[1:], **kwargs)
        else:
            kwargs["metric_readers"] = (*kwargs.get("metric_readers", ()), reader)
            init(**kwargs)
        ours.append(reader)

    def send_before(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
        if signal.getsignal(args[0]) is signal.SIG_DFL:
            for each in ours:
                with contextlib.suppress(Exception):
                    each.force_flush(LAST_MS)
        wrapped(*args, **kwargs)

    wrapt.wrap_function_wrapper("opentelemetry.sdk.trace", "TracerProvider.__init__", add_processor)
    wrapt.wrap_function_wrapper("opentelemetry.sdk.metrics", "MeterProvider.__init__", add_reader)
    # uvicorn ends by the signal that it was told to end by: nothing is done at the end of such a process.
    wrapt.wrap_function_wrapper("signal", "raise_signal", send_before)
    late = _LateMeterProvider()
    wrapt.wrap_function_wrapper("opentelemetry.trace", "set_tracer_provider", _exchanging(late))
    if alone:
        wrapt.wrap_function_wrapper("opentelemetry.metrics", "set_meter_provider", late.set)
        wrapt.wrap_function_wrapper("opentelemetry._logs", "set_logger_provider", _second_only())

    def complete() -> None:
        if not isinstance(trace.get_tracer_provider(), ExchangeableTracerProvider):
            trace.set_tracer_provider(TracerProvider())
        if not alone and not isinstance(metrics.get_meter_provider(), MeterProvider):
            wrapt.wrap_function_wrapper("opentelemetry.metrics", "set_meter_provider", late.set)
            metrics.set_meter_provider(MeterProvider())

    return complete


class ExchangeableTracerProvider(trace.TracerProvider):
    """Hands out tracers that follow it when its provider is exchanged.

    Args:
        provider: the first one.
        asked_to_serve: is called when a request's span is to begin.
    """

    def __init__(self, provider: trace.TracerProvider, asked_to_serve: Callable[[], None]) -> None:
        self.provider = provider
        self.exchanged = False
        self.asked_to_serve = asked_to_serve

    def exchange(self, provider: trace.TracerProvider) -> None:
        """Take the application's own."""
        self.exchanged = True
        self.provider = provider

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        """A tracer of the provider that there is when a span begins."""
        return _Tracer(self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        """What only the SDK's provider has: ``add_span_processor``, ``resource``, ``force_flush``."""
        return getattr(self.provider, name)


class _Tracer(trace.Tracer):
    def __init__(self, owner: ExchangeableTracerProvider, args: Any, kwargs: Any) -> None:
        self._owner = owner
        self._arguments = args, kwargs
        self._made_by: trace.TracerProvider | None = None
        self._made: Any = None

    def _tracer(self) -> Any:
        provider = self._owner.provider
        if self._made_by is not provider:
            args, kwargs = self._arguments
            self._made = provider.get_tracer(*args, **kwargs)
            self._made_by = provider
        return self._made

    def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
        if kwargs.get("kind") is SpanKind.SERVER:
            self._owner.asked_to_serve()
        span: trace.Span = self._tracer().start_span(*args, **kwargs)
        return span

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("kind") is SpanKind.SERVER:
            self._owner.asked_to_serve()
        return self._tracer().start_as_current_span(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracer(), name)


class _LateMeterProvider:
    """Keeps the first meter provider back: instruments made by then work with whichever is set."""

    def __init__(self) -> None:
        self._first: Any = None
        self._lock = threading.Lock()
        self._set: Callable[..., None] | None = None

    def set(self, wrapped: Callable[..., None], instance: Any, args: Any, kwargs: Any) -> None:
        """Stands for ``set_meter_provider``."""
        if self._set is None:
            self._set = wrapped
            self._first = args[0] if args else kwargs["meter_provider"]
            self._wait()
            os.register_at_fork(after_in_child=self._wait)
            return
        with self._lock:
            first, self._first = self._first, None
            wrapped(*args, **kwargs)  # refused, with a warning, where the first one is set by now
        if first is not None:
            first.shutdown()

    def _wait(self) -> None:
        if self._first is not None:
            self._lock = threading.Lock()
            threading.Thread(target=self._settle_in_time, name="otel-loopblock run", daemon=True).start()

    def _settle_in_time(self) -> None:
        modules = 0
        while self._first is not None and modules != (modules := len(sys.modules)):
            time.sleep(SETTLED_S)
        self.settle()

    def settle(self) -> None:
        """Set the first one, unless the application has set its own."""
        if self._first is None:
            return
        with self._lock:
            first, self._first = self._first, None
            if first is not None and self._set is not None:
                self._set(first)


def _exchanging(late: _LateMeterProvider) -> Callable[..., None]:
    def set_tracer_provider(wrapped: Callable[..., None], instance: Any, args: Any, kwargs: Any) -> None:
        provider = args[0] if args else kwargs["tracer_provider"]
        current = trace.get_tracer_provider()
        if not isinstance(current, ExchangeableTracerProvider):
            wrapped(ExchangeableTracerProvider(provider, late.settle))
        elif not current.exchanged:
            current.exchange(provider)
        else:
            wrapped(provider)  # refused, with a warning

    return set_tracer_provider


def _second_only() -> Callable[..., None]:
    """The first logger provider, which exports to nobody, is not set at all."""
    seen: list[object] = []

    def set_logger_provider(wrapped: Callable[..., None], instance: Any, args: Any, kwargs: Any) -> None:
        if seen:
            wrapped(*args, **kwargs)
        seen.append(None)

    return set_logger_provider
