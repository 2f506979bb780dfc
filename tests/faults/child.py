"""One process: the application runs with us, one of our functions raises, then it runs without us."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_loopblock import LoopBlockInstrumentor
from tests.faults.app import App, Client, Echo
from tests.faults.injection import Fault

OPTIONS: dict[str, Any] = {
    "threshold_ms": 4,
    "heartbeat_interval_ms": 5,
    "hang_after_ms": 15,
    "log_interval_ms": 0,
    "report": "all",
}

LATE = {"asyncio": "uvloop", "uvloop": "wave"}
"""A module that nobody has imported yet, by loop."""

THREADS = "otel-loopblock"


@dataclass
class Outcome:
    """What the application, and whoever looks at its process, saw."""

    seen: list[Any] = field(default_factory=list)
    """By the application, instrumented."""
    spans: list[Any] = field(default_factory=list)
    logged: list[Any] = field(default_factory=list)
    """By others than us."""
    bare: list[Any] = field(default_factory=list)
    """By the application, after it was uninstrumented."""
    raised: list[str] = field(default_factory=list)
    """Out of a call of ours, or out of the loop."""
    not_restored: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    """Lines in our log that were there before."""
    threads: list[str] = field(default_factory=list)
    """Of ours that are left."""
    calls: int = 0
    """Of the function that raises."""
    blocks: int = 0
    """That were reported."""


class Log(logging.Handler):
    """Keeps what is logged by anybody."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.ours: list[str] = []
        self.others: list[tuple[str, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "otel_loopblock":
            if record.exc_info:  # a block's line has none
                self.ours.append(record.getMessage())
        else:
            self.others.append(
                (record.name, record.getMessage(), repr(record.exc_info and record.exc_info[1]))
            )


class Originals:
    """What of others' may be replaced, as it was at first."""

    def __init__(self) -> None:
        self._classes: list[type] = [asyncio.Handle, asyncio.TimerHandle, asyncio.BaseEventLoop, Span]
        self._classes += [Echo, Client, asyncio.Protocol, asyncio.StreamReaderProtocol]
        if "uvloop" in sys.modules:
            self._classes.append(sys.modules["uvloop"].Loop)
        self._before = self._now()

    def _now(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            f"{each.__qualname__}.{name}": value
            for each in self._classes
            for name, value in vars(each).items()
            if name not in ("__dict__", "__weakref__", "made")
        }
        found.update({f"gc.callbacks[{at}]": each for at, each in enumerate(gc.callbacks)})
        finders = [each for each in sys.meta_path if _is_ours(type(each).__module__)]
        found.update({f"sys.meta_path: {each}": each for each in finders})
        found.update({f"sys.{name}": getattr(sys, name) for name in ("excepthook", "unraisablehook")})
        found["threading.excepthook"] = threading.excepthook
        found["gc.isenabled()"] = gc.isenabled()
        return found

    def differences(self) -> list[str]:
        """What is another object now, is missing, or was not there."""
        now, before, nothing = self._now(), self._before, object()
        found = [
            each for each in now.keys() | before.keys() if now.get(each, nothing) is not before.get(each)
        ]
        uvloop = sys.modules.get("uvloop")
        if uvloop is not None and uvloop.Loop not in self._classes:  # it was imported meanwhile
            found += [
                f"Loop.{name}"
                for name, value in vars(uvloop.Loop).items()
                if _is_ours(getattr(value, "__globals__", {}).get("__name__") or type(value).__module__)
            ]
        return sorted(found)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "otel_loopblock"


class Child:
    """One process of one job.

    Args:
        loop_kind: ``asyncio`` or ``uvloop``.
        fault: what breaks, or ``None``.
        when: ``before`` we are instrumented, ``after`` that, in the middle of the run, or ``never``.
    """

    def __init__(self, loop_kind: str, fault: Fault | None, when: str) -> None:
        self._loop_kind = loop_kind
        self._fault = fault
        self._when = when
        self.outcome = Outcome()
        self._log = Log()
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self._meter_provider = MeterProvider([self._reader])

    def run(self) -> Outcome:
        """Do all of it."""
        logging.getLogger().addHandler(self._log)
        outcome = self.outcome
        if self._loop_kind == "uvloop":
            import uvloop  # noqa: F401
        originals = Originals()
        if self._fault is not None and self._when == "before":
            self._fault.inject()
        self._instrument()
        self._attempt("the loop", lambda: self._run(outcome.seen, (self._break, self._change)))
        self._attempt("reading the spans", self._read_spans)  # an interrupt may come a moment later
        self._attempt("collecting metrics", self._reader.get_metrics_data)
        if self._when != "never":
            self._attempt("uninstrument()", LoopBlockInstrumentor().uninstrument)
        outcome.not_restored = originals.differences()
        ended = time.monotonic() + 2.0
        while (left := _our_threads()) and time.monotonic() < ended:
            time.sleep(0.001)
        outcome.threads = left
        self._attempt("the loop, uninstrumented", lambda: self._run(outcome.bare))
        self._meter_provider.shutdown()
        outcome.logged = self._log.others
        outcome.repeated = sorted({line for line in self._log.ours if self._log.ours.count(line) > 1})
        outcome.calls = self._fault.calls if self._fault is not None else 0
        return outcome

    def _instrument(self, **options: Any) -> None:
        if self._when == "never":
            return
        options = {**OPTIONS, **options}
        options.update(tracer_provider=self._provider, meter_provider=self._meter_provider)
        self._attempt("instrument()", lambda: LoopBlockInstrumentor().instrument(**options))

    def _attempt(self, what: str, do: Any) -> None:
        try:
            do()
        except BaseException as error:
            self.outcome.raised.append(f"{what}: {type(error).__name__}: {error}")

    def _run(self, seen: list[Any], meanwhile: Any = ()) -> None:
        app = App(self._make_loop, self._provider)
        app.seen = seen
        app.run(meanwhile)
        time.sleep(0)  # an interrupt in the loop's death is raised here, not where nobody expects it

    def _make_loop(self) -> Any:
        if self._loop_kind == "uvloop":
            import uvloop

            return uvloop.new_event_loop()
        return asyncio.new_event_loop()

    def _break(self) -> None:
        """In a callback of the loop."""
        if self._fault is not None and self._when == "after":
            self._fault.inject()

    def _change(self) -> None:
        """In a later one: a module is imported, and the options change, with which we begin again."""
        self._attempt("import", lambda: importlib.import_module(LATE[self._loop_kind]))
        self._attempt("collecting metrics", self._reader.get_metrics_data)
        self._instrument(threshold_ms=5, report="event")
        time.sleep(0.012)

    def _read_spans(self) -> None:
        self.outcome.blocks = sum(
            span.name == "event_loop.blocked" for span in self._exporter.get_finished_spans()
        )
        self.outcome.spans = self._spans()

    def _spans(self) -> list[Any]:
        found = []
        names = {span.context.span_id: span.name for span in self._exporter.get_finished_spans()}
        for span in self._exporter.get_finished_spans():
            try:
                events = [
                    (event.name, dict(event.attributes or {}))
                    for event in span.events
                    if dict(event.attributes or {}) is not None and not event.name.startswith("event_loop.")
                ]
                attributes = {
                    name: value
                    for name, value in (span.attributes or {}).items()
                    if not name.startswith("event_loop.")
                }
            except BaseException as error:
                self.outcome.raised.append(f"exporting: {type(error).__name__}: {error}")
                continue
            if span.instrumentation_scope.name == "otel_loopblock":
                continue
            for event in events:
                if event[0] == "exception":
                    event[1].pop("exception.stacktrace")
            parent = names.get(span.parent.span_id) if span.parent is not None else None
            found.append(
                (span.name, parent, str(span.kind), span.status.status_code.name, attributes, events)
            )
        return sorted(found, key=repr)


def _our_threads() -> list[str]:
    return sorted(each.name for each in threading.enumerate() if each.name.startswith(THREADS))


def as_json(outcome: Outcome) -> str:
    """For the one who has started the process."""
    return json.dumps(asdict(outcome), default=repr)
