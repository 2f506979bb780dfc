"""Names, kinds, units and buckets that dashboards rely on; gauges that can be read while a loop hangs."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, Histogram, InMemoryMetricReader, Sum
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.watch.loops import loops

BUCKETS = (0.001, 0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 0.500, 1.0, 2.5, 5.0, 10.0)
EXPECTED = {
    "event_loop.lag": (Histogram, "s", {"event_loop.type"}),
    "event_loop.block.duration": (
        Histogram,
        "s",
        {"event_loop.type", "event_loop.block.cause", "code.function.name"},
    ),
    "event_loop.utilization": (Gauge, "1", {"event_loop.type"}),
    "event_loop.block.ongoing": (Gauge, "s", {"event_loop.type"}),
    "event_loop.block.suppressed": (Sum, "{report}", set()),
}


def stall():
    time.sleep(0.05)


async def block_twice():
    for _ in range(2):
        await asyncio.sleep(0.03)
        stall()
    await asyncio.sleep(0.03)


def _collect(reader):
    data = reader.get_metrics_data()
    return {
        metric.name: metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_names_kinds_units_and_attributes_are_as_documented(telemetry, run):
    telemetry.instrument(heartbeat_interval_ms=10, max_events_per_second=0.1)
    found = {}

    async def main():
        _collect(telemetry.reader)  # utilization is a share of the time since the last collection
        await block_twice()
        telemetry.spans()
        found.update(_collect(telemetry.reader))

    run(main())

    for name, (kind, unit, attributes) in EXPECTED.items():
        metric = found[name]
        assert isinstance(metric.data, kind), name
        assert metric.unit == unit
        for point in metric.data.data_points:
            assert set(point.attributes) == attributes, name
            if kind is Histogram:
                assert point.explicit_bounds == BUCKETS


def test_a_view_can_choose_other_buckets(telemetry, run):
    reader = InMemoryMetricReader()
    aggregation = ExplicitBucketHistogramAggregation((0.02, 0.2))
    view = View(instrument_name="event_loop.block.duration", aggregation=aggregation)
    LoopBlockInstrumentor().instrument(
        tracer_provider=telemetry.tracer_provider, meter_provider=MeterProvider([reader], views=[view])
    )

    run(block_twice())
    telemetry.spans()

    points = _collect(reader)["event_loop.block.duration"].data.data_points
    assert {point.explicit_bounds for point in points} == {(0.02, 0.2)}


def test_ongoing_block_is_readable_while_the_loop_hangs_and_zero_afterwards(telemetry, run):
    telemetry.instrument()
    seen = []

    def look():
        (point,) = _collect(telemetry.reader)["event_loop.block.ongoing"].data.data_points
        seen.append(point.value)

    async def main():
        await asyncio.sleep(0.01)
        timer = threading.Timer(0.2, look)
        timer.start()
        time.sleep(0.5)
        timer.join()
        await asyncio.sleep(0.01)
        look()

    run(main())

    during, after = seen
    assert 0.1 <= during <= 5
    assert after == 0.0


def test_utilization_is_the_busy_share_of_the_time_between_collections(telemetry, run):
    telemetry.instrument()
    shares = []

    def look():
        (point,) = _collect(telemetry.reader)["event_loop.utilization"].data.data_points
        shares.append(point.value)

    async def main():
        _collect(telemetry.reader)
        await asyncio.sleep(0.3)
        look()
        for _ in range(6):
            time.sleep(0.05)
            await asyncio.sleep(0)
        look()

    run(main())

    idle, busy = shares
    assert 0 <= idle < 0.5
    assert 0.5 < busy <= 1


@pytest.mark.parametrize("report", ["event", "log"])
def test_metrics_go_nowhere_after_uninstrument(telemetry, run, report):
    telemetry.instrument(report=report)
    run(block_twice())
    telemetry.spans()
    before = _collect(telemetry.reader)["event_loop.block.duration"].data.data_points[0].count
    LoopBlockInstrumentor().uninstrument()

    run(block_twice())

    found = _collect(telemetry.reader)
    assert found["event_loop.block.duration"].data.data_points[0].count == before
    assert "event_loop.utilization" not in found
    assert loops.monitors() == []


def test_hanging_block_shows_its_culprit_and_zero_afterwards(telemetry, run):
    telemetry.instrument(hang_after_ms=50)
    seen = []

    def hang():
        until = time.monotonic() + 10
        while time.monotonic() < until and not seen:
            time.sleep(0.05)
            seen.extend(_by_function(telemetry))

    async def main():
        await asyncio.sleep(0.01)
        hang()
        await asyncio.sleep(0.01)

    run(main())

    function = f"{__name__}.test_hanging_block_shows_its_culprit_and_zero_afterwards.<locals>.hang"
    assert [name for name, _ in seen] == [function]
    assert seen[0][1] >= 0.05
    assert (function, 0.0) in _by_function(telemetry)


def _by_function(telemetry):
    metric = _collect(telemetry.reader).get("event_loop.block.ongoing")
    return [
        (point.attributes["code.function.name"], point.value)
        for point in (metric.data.data_points if metric else ())
        if "code.function.name" in point.attributes and point.value >= 0
    ]
