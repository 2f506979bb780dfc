"""Fixtures for all tests: the loop under test, telemetry in memory, the receiver."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_loopblock import LoopBlockInstrumentor, guard

THREADS = "otel-loopblock"
"""What the names of our threads begin with."""

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

TESTS = Path(__file__).parent


def run_on(kind, work):
    """Call ``work`` for a coroutine and run it on a loop of its own, which is closed then."""
    loop = LOOPS[kind]()
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()


ONCE = (
    "attach/test_keeping.py",
    "attach/test_refusals.py",
    "attach/test_rounds.py",
    "attach/test_watching.py",
    "bench",
    "cases",
    "cli",
    "compat/test_compare.py",
    "compat/test_suites.py",
    "cost",
    "delayed/test_delays_in_a_service.py",
    "demo",
    "drivers",
    "emit/test_executors.py",
    "faults",
    "local",
    "run/test_services.py",
    "run/test_terminal.py",
    "servers",
    "soak",
    "storms",
    "test_declarative.py",
    "test_exits.py",
    "test_killed_workers.py",
    "test_many_blocks.py",
    "test_readme.py",
    "test_scenarios.py",
    "test_service.py",
    "testing/test_plugin.py",
    "testing/threads/parallelism",
    "wheels",
)
"""Folders and files whose tests get the mark ``once``; pyproject.toml says what it means."""

ALONE = (
    "cases",
    "causes",
    "cost",
    "delayed/test_arrivals.py",
    "delayed/test_delayed_requests.py",
    "faults",
    "hooks/test_run_forever.py",
    "properties/test_races.py",
    "soak",
    "storms",
    "test_many_blocks.py",
    "test_scenarios.py",
    "testing/test_detect.py",
    "testing/test_known_blockers.py",
    "testing/test_plugin.py",
    "testing/threads/parallelism",
    "watch",
)
"""The same for the mark ``alone``."""


@pytest.hookimpl(tryfirst=True)  # before those that the command line does not ask for are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder or file."""
    for mark, names in (("once", ONCE), ("alone", ALONE)):
        marked = {TESTS / name for name in names}
        assert all(path.exists() for path in marked), marked  # none has moved
        for item in items:
            if not marked.isdisjoint((item.path, *item.path.parents)):
                item.add_marker(mark)


class Telemetry:
    """The instrumentor with providers of its own, everything in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader])
        self.tracer = self.tracer_provider.get_tracer("test")

    def instrument(self, **options):
        options.setdefault("heartbeat_interval_ms", 0)
        options.setdefault("log_interval_ms", 0)
        options.setdefault("report", "event")  # alone it says all; test_forms.py has the default
        LoopBlockInstrumentor().instrument(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    def spans(self, name=None):
        """Finished spans; what was deferred is done first."""
        emitter = LoopBlockInstrumentor()._emitter
        assert emitter is None or emitter.worker.drain(30)
        return [s for s in self.exporter.get_finished_spans() if name in (None, s.name)]

    def events(self):
        """``(span name, event)`` of every block reported as an event."""
        return [
            (span.name, event)
            for span in self.spans()
            for event in span.events
            if event.name == "event_loop.blocked"
        ]

    def points(self, metric):
        self.spans()
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        ]


@pytest.fixture(params=sorted(LOOPS))
def loop_kind(request) -> str:
    """Each test that asks for it runs on both loops."""
    return request.param


@pytest.fixture
def run(loop_kind) -> Callable:
    """``asyncio.run`` on the loop under test."""

    def run(coroutine):
        loop = LOOPS[loop_kind]()
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(coroutine)
        finally:
            asyncio.set_event_loop(None)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    return run


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    guard.failures.clear()
    telemetry = Telemetry()
    yield telemetry
    if LoopBlockInstrumentor().is_instrumented_by_opentelemetry:
        LoopBlockInstrumentor().uninstrument()
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith(THREADS):  # what was told to end may be late on a busy machine
            thread.join(5)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(THREADS)]
    assert not guard.failures, guard.failures
