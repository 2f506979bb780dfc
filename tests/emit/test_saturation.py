"""What becomes of a loop without a rest, and of samples of what loops do: the telemetry of both."""

from __future__ import annotations

import logging

import pytest
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.clocks import perf_counter
from otel_loopblock.emit import saturation
from otel_loopblock.emit.busy import MAX_SERIES, Busy
from otel_loopblock.watch.evidence import Endpoint
from otel_loopblock.watch.load import BusyStretch, Sample
from otel_loopblock.watch.monitor import Monitor

SATURATED = "event_loop.saturated"
HERE = __name__


def total():
    """A function of the application's."""


def rank():
    """Another one."""


def frame(function):
    return (function.__code__, 0, 1, HERE)


class Loop:
    """A monitored loop that nobody runs: what is seen of it is said by the test."""

    def __init__(self, telemetry, **options):
        telemetry.instrument(**options)
        self.telemetry = telemetry
        self.emitter = LoopBlockInstrumentor()._emitter
        self.monitor = Monitor("asyncio")
        self.now = perf_counter()
        self.emitter._instruments.monitors = lambda: [self.monitor]

    def sample(self, function, *, at, route=None, span=None, count=1):
        if route is not None:
            span = self.telemetry.tracer.start_span(f"GET {route}", attributes={"http.route": route})
        frames = (frame(function),) if function is not None else ()
        value = trace.set_span_in_context(span) if span is not None else None
        for _ in range(count):
            self.emitter.loop_sampled(self.monitor, [Sample(self.now + at, frames, None, value)])
        return span

    def full(self, since, until, *, over=True, busy_s=None, callbacks=90):
        busy_s = until - since if busy_s is None else busy_s
        stretch = BusyStretch(self.now + since, self.now + until, busy_s, callbacks, over)
        self.emitter.loop_full(self.monitor, stretch)

    def saturated(self):
        return self.telemetry.spans(SATURATED)


@pytest.fixture
def loop(telemetry):
    return lambda **options: Loop(telemetry, **options)


def test_span_says_how_long_and_what_filled_the_loop(loop):
    found = loop()
    found.sample(rank, at=-0.5, route="/before")  # not in the stretch
    first = found.sample(total, at=0.1, route="/quote", count=6)
    second = found.sample(rank, at=0.2, route="/search", count=3)
    found.sample(None, at=0.3)
    found.emitter.lag_measured(found.monitor, 0.25)
    found.full(0.0, 1.8, busy_s=1.71)

    [span] = found.saturated()
    assert dict(span.attributes) == {
        SATURATED: True,
        "event_loop.saturation.duration": 1.8,
        "event_loop.saturation.utilization": 0.95,
        "event_loop.saturation.callbacks": 90,
        "event_loop.saturation.lag_max": 0.25,
        "event_loop.saturation.functions": (f"{HERE}.total", f"{HERE}.rank", "unknown"),
        "event_loop.saturation.function_shares": (0.6, 0.3, 0.1),
        "event_loop.saturation.function_rest": 0.0,
        "event_loop.saturation.routes": ("/quote", "/search"),
        "event_loop.saturation.route_shares": (0.6, 0.3),
        "event_loop.saturation.route_rest": pytest.approx(0.1),
        "event_loop.saturation.samples": 10,
        "event_loop.type": "asyncio",
        "thread.name": "",
    }
    assert span.parent is None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(1.8, abs=0.001)
    assert [link.context.trace_id for link in span.links] == [
        each.get_span_context().trace_id for each in (first, second)
    ]


def test_five_of_each_are_told_of_and_the_rest_is_a_number(loop):
    found = loop()
    for at in range(7):
        found.sample(total, at=0.1, route=f"/{at}", count=7 - at)
    found.full(0.0, 1.0)
    [span] = found.saturated()
    assert span.attributes["event_loop.saturation.routes"] == tuple(f"/{at}" for at in range(5))
    assert span.attributes["event_loop.saturation.route_rest"] == pytest.approx(3 / 28, abs=1e-4)
    assert len(span.links) == 5


def test_what_lasts_is_told_at_each_doubling(loop):
    found = loop(hang_after_ms=2000)
    for until in (0.5, 1.9, 2.0, 2.5, 3.9, 4.2, 6.0, 8.1):
        found.full(0.0, until, over=False)
    found.full(0.0, 9.0)
    told = [
        (
            span.attributes["event_loop.saturation.duration"],
            "event_loop.saturation.ongoing" in span.attributes,
        )
        for span in found.saturated()
    ]
    assert told == [(2.0, True), (4.2, True), (8.1, True), (9.0, False)]
    [point] = found.telemetry.points("event_loop.saturation.duration")
    assert (point.count, point.sum) == (1, pytest.approx(9.0))
    assert dict(point.attributes) == {"event_loop.type": "asyncio"}


def test_next_stretch_begins_anew(loop):
    found = loop()
    found.sample(total, at=0.1)
    found.full(0.0, 0.5)
    found.sample(rank, at=1.1)
    found.full(1.0, 1.5)
    functions = [span.attributes["event_loop.saturation.functions"] for span in found.saturated()]
    assert functions == [(f"{HERE}.total",), (f"{HERE}.rank",)]


def test_line_in_the_log_comes_once_a_minute(loop, caplog, monkeypatch):
    now = [1000.0]
    found = loop()
    monkeypatch.setattr(saturation, "perf_counter", lambda: now[0])
    with caplog.at_level(logging.WARNING, "otel_loopblock"):
        for at in range(2):
            found.sample(total, at=at + 0.1, route="/quote", count=3)
            found.sample(rank, at=at + 0.2)
            found.full(at, at + 0.9)
            found.saturated()
    expected = f"event loop saturated for 900 ms: 75 % {HERE}.total (GET /quote), 25 % {HERE}.rank"
    assert [record.getMessage() for record in caplog.records] == [expected]
    now[0] += 61
    with caplog.at_level(logging.WARNING, "otel_loopblock"):
        found.full(2.0, 2.9)
        found.saturated()
    assert [record.getMessage() for record in caplog.records][1:] == [
        "event loop saturated for 900 ms: no sample tells by what"
    ]


def test_log_event_has_the_same_name_and_attributes(loop):
    exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    found = loop(report="log", logger_provider=provider)
    found.sample(total, at=0.1)
    found.full(0.0, 0.5)
    assert found.saturated() == []
    [logged] = exporter.get_finished_logs()
    assert logged.log_record.event_name == SATURATED
    assert tuple(logged.log_record.attributes["event_loop.saturation.functions"]) == (f"{HERE}.total",)


def test_sample_in_a_framework_goes_to_the_endpoint(loop):
    found = loop()
    library = (logging.Logger.info.__code__, 0, 1, "logging")
    sample = Sample(found.now + 0.1, (library,), Endpoint(frame(total), 0), None)
    found.emitter.loop_sampled(found.monitor, [sample])
    found.full(0.0, 0.5)
    [span] = found.saturated()
    assert span.attributes["event_loop.saturation.functions"] == (f"{HERE}.total",)


def test_busy_time_is_shared_out_among_the_samples(loop):
    found = loop()
    found.telemetry.points("event_loop.busy")
    found.sample(total, at=0.1, route="/quote", count=3)
    found.sample(rank, at=0.1)
    found.monitor.busy = 8.0
    assert busy(found) == {
        ("asyncio", f"{HERE}.total", "/quote"): 6.0,
        ("asyncio", f"{HERE}.rank", None): 2.0,
    }
    found.monitor.busy = 9.0  # and no sample
    assert busy(found)["asyncio", "unknown", None] == 1.0
    assert sum(busy(found).values()) == found.monitor.busy


def test_functions_beyond_the_bound_are_other(loop):
    found = loop(max_functions=1)
    found.sample(total, at=0.1)
    found.sample(rank, at=0.1)
    found.monitor.busy = 2.0
    assert busy(found) == {("asyncio", f"{HERE}.total", None): 1.0, ("asyncio", "other", None): 1.0}


def test_pairs_of_function_and_route_are_bounded():
    counter, monitor = Busy(), Monitor("asyncio")
    for at in range(MAX_SERIES + 100):
        counter.add(monitor, "function", f"/{at}")
    monitor.busy = 1.0
    assert len(counter.observe([monitor])) == MAX_SERIES + 1


def test_loop_that_was_closed_counts_until_then():
    counter, monitor = Busy(), Monitor("uvloop")
    monitor.busy = 5.0
    counter.begin([monitor])
    counter.add(monitor, "function", None)
    monitor.busy = 7.0
    [point] = counter.observe([])
    assert point.value == 2.0
    assert [each.value for each in counter.observe([])] == [2.0]


def busy(found):
    names = ("event_loop.type", "code.function.name", "http.route")
    return {
        tuple(map(point.attributes.get, names)): point.value
        for point in found.telemetry.points("event_loop.busy")
    }
