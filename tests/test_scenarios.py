"""A real service under ``opentelemetry-instrument``, real OTLP: every block on the span it belongs to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from otel_loopblock import core
from otel_loopblock.local.receiver import ReceiverProcess
from tests.service.running import Service

BLOCK_S = float(os.environ.get("SCENARIO_BLOCK_S", "0.06"))
APP = "tests.service.scenarios"
LINES = (Path(__file__).parent / "service" / "scenarios.py").read_text().splitlines()
TOLERANCE = os.environ.get("LOOPBLOCK_TOLERANCE")
"""Set it to 1 on a quiet machine: durations within 1 ms or 2 % of the truth."""

# path: [(name of the span with the event or own span's parent, "event" or "span", truth, function, call)]
EXPECTED = {
    "block_then_return": [("GET /block_then_return", "event", "block_then_return", "block")],
    "await_block_await": [("GET /await_block_await", "event", "await_block_await", "block")],
    "inner_span": [("inner", "event", "inner_span", "block")],
    "two_inner_spans": [("first", "event", "first", "block"), ("second", "event", "second", "block")],
    "twenty_short_spans": [("GET /twenty_short_spans", "event", "twenty_short_spans", "twenty_short_spans")],
    "outer_then_inner": [
        ("GET /outer_then_inner", "event", "outer", "block"),
        ("inner of outer", "event", "inner of outer", "block"),
    ],
    "dependency": [("GET /dependency", "event", "dependency", "block")],
    "middleware": [("GET /middleware", "event", "middleware", "block")],
    "background": [("BackgroundTask work_later", "event", "background", "block")],
    "bare_task": [(None, "span", "bare_task", "block")],
    "call_later": [("GET /call_later", "event", "call_later", "block")],
    "add_reader": [("GET /add_reader", "event", "add_reader", "block")],
    "data_received": [(None, "span", "data_received", "block")],
    "innocent": [],
}


# What uvicorn calls it, and `event_loop.type`.
LOOPS = {
    "asyncio": ("asyncio", "asyncio"),
    "uvloop": ("uvloop", "uvloop"),
    "rloop": ("rloop:new_event_loop", "rloop.loop.RLoop"),
    "zuvloop": ("zuvloop:new_event_loop", "zuvloop._loop.EventLoop"),
}
HOOKED = ("asyncio", "uvloop")
CANNOT = {"rloop": {"data_received"}}
"""What a loop cannot do without the package either: rloop 0.5.0 never closes that connection."""


@pytest.fixture(scope="module", params=LOOPS)
def observed(request):
    """All scenarios once on one loop: ``(type of the loop, spans, metrics, truth, output)``."""
    name, kind = LOOPS[request.param]
    if request.param not in HOOKED:
        if core.ContextWatch is None:
            pytest.skip("only the probe sees such a loop here")
        pytest.importorskip(request.param)
    with (
        ReceiverProcess() as receiver,
        Service(
            f"{APP}:app",
            loop=name,
            endpoint=receiver.endpoint,
            environ={"SCENARIO_BLOCK_S": str(BLOCK_S)},
        ) as service,
    ):
        receiver.reset()
        paths = [path for path in EXPECTED if path not in CANNOT.get(request.param, ())]
        for path in paths:
            service.get(f"/{path}")
        truth = json.loads(service.get("/truth"))
        blocks = sum(len(EXPECTED[path]) for path in paths)

        def all_counted(metrics):
            counts = [m for m in metrics if m.name == "event_loop.block.duration"]
            return counts and sum(point.count for point in counts[-1].points) >= blocks - 2

        receiver.wait_for_spans(lambda spans: len(_own_reports(spans)) >= blocks)
        metrics = receiver.wait_for_metrics(all_counted)
        spans = receiver.spans()
        yield kind, spans, metrics, truth, service.output()


def _reports(spans):
    """``(name of the span it is on or under, form, record)`` for each reported block.

    The form is ``span`` where no event tells of it as well.
    """
    names = {span.span_id: span.name for span in spans}
    events = _events(spans)
    found = [(span.name, "event", event.attributes) for span, event in events.values()]
    found += [
        (names.get(span.parent_span_id), "span", span.attributes)
        for span in spans
        if span.name == "event_loop.blocked" and (span.parent_span_id, span.start_unix_ns) not in events
    ]
    return found


def _events(spans):
    """The events by the id of their span and their time, with their span."""
    return {
        (span.span_id, event.time_unix_ns): (span, event)
        for span in spans
        for event in span.events
        if event.name == "event_loop.blocked"
    }


def _own_reports(spans):
    """Without imports and the like: a slow machine may make an innocent callback long, or its endpoint."""
    return [
        report
        for report in _reports(spans)
        if report[2].get("code.function.name", "").startswith(APP)
        and report[2]["event_loop.block.duration"] >= BLOCK_S / 2
    ]


@pytest.mark.parametrize("path", sorted(EXPECTED))
def test_block_is_reported_exactly_where_it_belongs(observed, path):
    _, spans, _, truth, _ = observed
    reports = _reports(spans)
    if path not in truth and path in {each for paths in CANNOT.values() for each in paths}:
        pytest.skip("this loop cannot do that")

    for where, form, scenario, function in EXPECTED[path]:
        duration = truth[scenario][0]
        close = [
            attributes
            for name, kind, attributes in reports
            if (name, kind) == (where, form) and attributes.get("code.function.name") == f"{APP}.{function}"
        ]
        # Where the callback does more than block, that counts too: a slow machine must not fail this.
        least, most = (-0.001, max(0.001, 0.02 * duration)) if TOLERANCE else (-0.002, 0.03)
        exact = [a for a in close if least < a["event_loop.block.duration"] - duration < most]
        assert exact, (where, form, duration, reports)
        assert exact[0]["event_loop.block.call"] == "time.sleep"
        assert exact[0]["code.file.path"].endswith("scenarios.py")
        assert LINES[exact[0]["code.line.number"] - 1].strip().startswith("time.sleep(")


def test_each_event_has_a_span_that_says_more_within_its_own(observed):
    _, spans, _, _, _ = observed
    own = {(s.parent_span_id, s.start_unix_ns): s for s in spans if s.name == "event_loop.blocked"}
    events = _events(spans)

    assert events
    for key, (span, event) in events.items():
        assert event.attributes.items() <= own[key].attributes.items()
        assert "code.stacktrace" not in event.attributes
        assert span.start_unix_ns <= own[key].start_unix_ns < own[key].end_unix_ns <= span.end_unix_ns
        assert span.attributes["event_loop.blocked"] is True


def test_nothing_else_is_reported(observed):
    _, spans, _, truth, output = observed
    reports = _own_reports(spans)
    expected = [
        (where, form)
        for group in EXPECTED.values()
        for where, form, scenario, _ in group
        if scenario in truth
    ]

    assert sorted((str(where), form) for where, form, _ in reports) == sorted(
        (str(where), form) for where, form in expected
    ), output


def test_block_histogram_counts_each_and_its_exemplar_is_a_blocked_trace(observed):
    loop, spans, metrics, _, _ = observed
    latest = [metric for metric in metrics if metric.name == "event_loop.block.duration"][-1]
    traces = {span.trace_id for span in spans}
    mine = [p for p in latest.points if p.attributes.get("code.function.name", "").startswith(APP)]

    assert latest.unit == "s"
    assert {point.attributes["event_loop.type"] for point in mine} == {loop}
    assert {point.attributes.get("http.route") for point in mine} >= {"/block_then_return", "/dependency"}
    # Each is exported once, with what was recorded since the export before: the latest may have none.
    exemplars = [
        exemplar
        for metric in metrics
        if metric.name == "event_loop.block.duration"
        for point in metric.points
        for exemplar in point.exemplars
        if point.attributes.get("code.function.name", "").startswith(APP)
    ]
    assert exemplars
    assert {exemplar.trace_id for exemplar in exemplars if exemplar.trace_id} <= traces
    assert any(exemplar.value >= 0.04 and exemplar.trace_id for exemplar in exemplars)


def test_lag_is_measured_all_the_time(observed):
    _, _, metrics, _, _ = observed
    lag = [metric for metric in metrics if metric.name == "event_loop.lag"][-1]

    assert lag.kind == "histogram"
    assert sum(point.count for point in lag.points) >= 2
    assert lag.points[0].bounds[:3] == (0.001, 0.005, 0.010)


def test_log_line_names_request_culprit_and_call(observed):
    *_, output = observed

    assert "in GET /block_then_return: scenarios.py:" in output
    assert "block → time.sleep" in output
