"""The trial in short: shares of what fills a loop, and quiet where it rests."""

from __future__ import annotations

import pytest

from otel_loopblock import LoopBlockInstrumentor
from tests.saturation.trial import ROUTES, SATURATED, Trial, nearly_full, share_of_a_loop, three_routes

CALM = {"threshold_ms": 2000, "log_interval_ms": 3_600_000}
"""So that no callback is a block on a machine that is busy with other things."""


def test_what_fills_a_loop_is_told_with_its_shares(loop_kind):
    found = Trial(loop_kind, **CALM).run(three_routes, 4.0)
    samples = sum(each.attributes["event_loop.saturation.samples"] for each in found.saturated)
    assert found.saturated
    assert found.counted_s == pytest.approx(found.busy_s, rel=0.02)
    if samples >= 20:  # a machine that has no time for the loop has none for the watchdog
        true, reported, counted = found.true_shares(), found.reported_shares(), found.counted_shares()
        allowed = 2 / samples**0.5  # four standard deviations of a half
        for route in ROUTES:
            assert reported[route] == pytest.approx(true[route], abs=allowed)
            assert counted[route] == pytest.approx(true[route], abs=allowed)
    [*_, last] = found.saturated
    assert last.parent is None
    assert 1 <= len(last.links) <= 5
    assert set(last.attributes["event_loop.saturation.functions"]) <= {
        "tests.saturation.trial.compute",
        "tests.saturation.trial.Trial.request",
        "tests.saturation.trial.three_routes.<locals>.client",
        "tests.saturation.trial.three_routes.<locals>.request",
        *(f"tests.saturation.trial.{route[1:]}" for route in ROUTES),
        "unknown",
        # Whatever else runs, as like as not a sample or two.
        *(
            name
            for name in last.attributes["event_loop.saturation.functions"]
            if "opentelemetry" in name or name.startswith("asyncio.")
        ),
    }


@pytest.mark.parametrize("burst_s", [0.002, 0.05])
def test_loop_that_rests_is_not_reported(loop_kind, burst_s):
    found = Trial(loop_kind, **CALM).run(share_of_a_loop, 1.5, 0.4, burst_s)
    if found.longest_s < 0.09:  # else the machine has made a full loop of it
        assert found.saturated == []


def test_nearly_full_loop_is_reported_within_twice_the_time(loop_kind):
    found = Trial(loop_kind, **CALM).run(nearly_full, 0.2, 0.99)
    if found.busy_s / found.wall_s >= 0.95:
        assert len(found.saturated) == 1


def test_loop_that_is_full_when_the_package_goes_is_reported(telemetry, run):
    telemetry.instrument(**CALM)
    trial = Trial("asyncio")  # its load alone

    async def main():
        await nearly_full(trial, 0.6, 0.99)
        LoopBlockInstrumentor().uninstrument()

    run(main())
    [span] = telemetry.spans(SATURATED)
    assert span.attributes["event_loop.saturation.duration"] >= 0.1
    assert span.attributes["event_loop.saturation.samples"] >= 1
    assert "event_loop.saturation.ongoing" not in span.attributes
