"""A Collector that is not there yet, goes away, and comes back: the service does not mind."""

from __future__ import annotations

import pytest

from tests.e2e.stack import wait_for_blocked


@pytest.mark.parametrize("phase", ["before_collector", "killed", "back"])
def test_latency_does_not_depend_on_the_collector(run, report, phase):
    normal, other = run.with_collector, getattr(run, phase)
    assert not other.failures
    assert not normal.failures
    assert len(other.durations_s) >= 20
    report.append(
        f"latency of an innocent request, Collector {phase.replace('_', ' ')}: "
        f"p50 {other.quantile(0.5) * 1e3:.1f} ms, p95 {other.quantile(0.95) * 1e3:.1f} ms "
        f"(with Collector: {normal.quantile(0.5) * 1e3:.1f} and {normal.quantile(0.95) * 1e3:.1f} ms)"
    )
    # An export that held the loop, or waited for the Collector, would take seconds.
    assert other.quantile(0.5) < 2 * normal.quantile(0.5) + 0.03
    assert other.quantile(0.95) < 3 * normal.quantile(0.95) + 0.1


def test_blocks_from_before_the_collector_started_are_counted_once_it_does(run):
    # Metrics are cumulative: nothing is lost but time.
    assert run.blocks_before_kill == 2


def test_traces_arrive_again_when_the_collector_is_back(run, report):
    assert wait_for_blocked(run.stack, run.trace_back).name == "GET /block_then_return"
    # Whether older ones still arrive depends on how long the exporter tries; this is only told.
    for when, trace_id in (
        ("before the Collector was started", run.trace_before_collector),
        ("while the Collector was down", run.trace_while_killed),
    ):
        arrived = bool(run.stack.jaeger.trace(trace_id))
        report.append(f"trace of a request {when}: {'arrived later' if arrived else 'lost'}")


def test_metrics_arrive_again_when_the_collector_is_back_those_of_the_outage_included(run):
    assert run.blocks_back == run.blocks_before_kill + 2
