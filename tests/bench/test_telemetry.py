"""What is read out of the server's cumulative metrics."""

from __future__ import annotations

from otel_loopblock.bench.results import Blocks
from otel_loopblock.bench.telemetry import blocks_between, exported_after, lag_between
from otel_loopblock.local.telemetry import Metric, Point


def export(name, at, *points):
    return Metric(
        name=name,
        kind="histogram",
        unit="s",
        description="",
        temporality="cumulative",
        monotonic=None,
        scope="otel_loopblock",
        resource={},
        points=tuple(
            Point(
                attributes=attributes,
                start_unix_ns=0,
                time_unix_ns=at,
                value=None,
                count=sum(counts),
                sum=total,
                min=None,
                max=None,
                bounds=(0.01, 0.1),
                bucket_counts=counts,
                exemplars=(),
            )
            for attributes, counts, total in points
        ),
    )


def culprit(function, cause="cpu"):
    return {"code.function.name": function, "event_loop.block.cause": cause, "event_loop.type": "uvloop"}


def test_lag_is_what_was_gained_between_the_exports_around():
    lag = [
        export("event_loop.lag", 10, ({}, (5, 0, 0), 0.1)),
        export("event_loop.lag", 20, ({}, (9, 1, 0), 0.3)),
        export("event_loop.lag", 30, ({}, (10, 1, 4), 2.3)),
        export("event_loop.lag", 40, ({}, (99, 1, 4), 3.0)),
    ]
    histogram = lag_between(lag, 15, 25)
    assert histogram.counts == (5, 1, 4)
    assert abs(histogram.sum - 2.2) < 1e-9


def test_nothing_is_known_before_the_export_after_the_end():
    lag = [export("event_loop.lag", 10, ({}, (5, 0, 0), 0.1))]
    assert lag_between(lag, 5, 11) is None
    assert not exported_after(lag, 11)
    assert exported_after(lag, 10)


def test_culprit_that_appeared_since_counts_from_nothing():
    known = (culprit("a"), (0, 2, 0), 0.1)
    blocks = [
        export("event_loop.block.duration", 10, known),
        export("event_loop.block.duration", 20, known, (culprit("b"), (0, 0, 3), 1.5)),
    ]
    assert blocks_between(blocks, 10, 20) == (Blocks(function="b", cause="cpu", count=3, total_s=1.5),)


def test_culprits_are_told_apart_by_cause_and_come_in_the_order_of_their_time():
    blocks = [
        export(
            "event_loop.block.duration",
            20,
            (culprit("a"), (0, 2, 0), 0.1),
            ({**culprit("a"), "http.route": "/x"}, (0, 1, 0), 0.2),
            (culprit("a", "gc"), (0, 0, 3), 1.5),
        )
    ]
    assert blocks_between(blocks, 10, 20) == (
        Blocks(function="a", cause="gc", count=3, total_s=1.5),
        Blocks(function="a", cause="cpu", count=3, total_s=0.1 + 0.2),
    )
