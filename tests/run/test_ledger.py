"""What is booked of the messages of a service: each block once, counts of metrics, everything bounded."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_loopblock.local.otlp_server import Refused
from otel_loopblock.run import intake as intake_module
from otel_loopblock.run import ledger as ledger_module
from otel_loopblock.run.intake import Intake
from otel_loopblock.run.ledger import Ledger

MS = 1_000_000
START = 1_700_000_000_000_000_000
STACK = """\
  File "/srv/shop/app.py", line 7, in pay
  File "/srv/shop/card.py", line 3, in charge
  [in time.sleep]
"""


@pytest.fixture
def intake() -> Intake:
    return Intake(Ledger())


def put(attributes, values):
    for key, value in values.items():
        pair = attributes.add(key=key)
        if isinstance(value, bool):
            pair.value.bool_value = value
        elif isinstance(value, float):
            pair.value.double_value = value
        elif isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.string_value = value


def block_attributes(duration_s=0.1, function="card.charge", **more):
    return {
        "event_loop.block.duration": duration_s,
        "event_loop.block.cause": "wait",
        "code.function.name": function,
        "code.file.path": "/srv/shop/card.py",
        "code.line.number": 3,
        **more,
    }


class Traces:
    def __init__(self):
        self.request = ExportTraceServiceRequest()
        self.spans = self.request.resource_spans.add().scope_spans.add().spans

    def span(self, trace, span, name="GET /pay", parent=None, start=START, end=START + 200 * MS, of=()):
        added = self.spans.add(
            trace_id=bytes([trace]) * 16,
            span_id=bytes([span]) * 8,
            name=name,
            kind=1 if name == "event_loop.blocked" else 2,
            start_time_unix_nano=start,
            end_time_unix_nano=end,
        )
        if parent is not None:
            added.parent_span_id = bytes([parent]) * 8
        put(added.attributes, dict(of))
        return added

    def send(self, intake):
        intake.take("/v1/traces", self.request.SerializeToString(), "1")


def add_event(span, name, at, attributes):
    event = span.events.add(name=name, time_unix_nano=at)
    put(event.attributes, attributes)


def send_histogram(intake, name, points, sender="1"):
    """Points: attributes, count, sum in seconds."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name, unit="s")
    metric.histogram.aggregation_temporality = 2
    for attributes, count, total in points:
        point = metric.histogram.data_points.add(
            count=count, sum=total, max=total, bucket_counts=[0, count, 0], explicit_bounds=[0.01, 1.0]
        )
        put(point.attributes, attributes)
    intake.take("/v1/metrics", request.SerializeToString(), sender)


def test_event_with_all_attributes_is_one_block(intake):
    traces = Traces()
    span = traces.span(1, 1)
    add_event(span, "event_loop.blocked", START + MS, block_attributes(**{"code.stacktrace": STACK}))
    traces.send(intake)
    found = intake.look().found
    (culprit,) = found.culprits
    assert (culprit.function, culprit.count, culprit.p50_s) == ("card.charge", 1, 0.1)
    assert culprit.place == "/srv/shop/card.py:3"
    assert intake.worst_trace == "01" * 16


@pytest.mark.parametrize("order", ["event first", "span first", "together"])
def test_short_event_and_child_span_are_one_block(intake, order):
    event, child = Traces(), Traces()
    if order == "together":
        child = event
    add_event(event.span(1, 1), "event_loop.blocked", START, block_attributes())
    child.span(
        1,
        2,
        "event_loop.blocked",
        parent=1,
        start=START + MS,  # clamped to the parent's
        end=START + 101 * MS,
        of=block_attributes(**{"code.stacktrace": STACK, "event_loop.block.advice": "Use await sleep."}),
    )
    for traces in {"event first": (event, child), "span first": (child, event), "together": (event,)}[order]:
        traces.send(intake)
    found = intake.look().found
    assert found.blocks == 1
    assert found.blocked_s == pytest.approx(0.1)
    assert intake._ledger.flame.root.total_s == pytest.approx(0.1)
    assert {span.name for span in intake.worst_spans()} == {"GET /pay", "event_loop.blocked"}


def test_two_blocks_of_one_span_are_two(intake):
    traces = Traces()
    span = traces.span(1, 1)
    for at in (0, 120 * MS):
        add_event(span, "event_loop.blocked", START + at, block_attributes())
    traces.send(intake)
    assert intake.look().found.blocks == 2


def test_reports_of_a_block_that_lasts_are_one_block(intake):
    for duration_s, ongoing in ((5.0, True), (10.0, True), (12.0, False)):
        traces = Traces()
        more = {"event_loop.block.ongoing": True} if ongoing else {}
        traces.span(1, 2, "event_loop.blocked", parent=1, of=block_attributes(duration_s, **more))
        traces.send(intake)
    found = intake.look().found
    assert (found.blocks, found.blocked_s) == (1, pytest.approx(12.0))
    assert found.worst is not None
    assert not found.worst.ongoing


def test_last_report_of_a_block_that_never_ended_counts(intake):
    traces = Traces()
    of = block_attributes(5.0, **{"event_loop.block.ongoing": True})
    traces.span(1, 2, "event_loop.blocked", parent=1, of=of)
    traces.send(intake)
    found = intake.look().found
    assert (found.blocks, found.worst.ongoing) == (1, True)


def test_counts_are_those_of_the_metrics_where_reports_were_limited(intake):
    traces = Traces()
    add_event(traces.span(1, 1), "event_loop.blocked", START, block_attributes())
    traces.send(intake)
    attributes = {"code.function.name": "card.charge", "event_loop.block.cause": "wait"}
    send_histogram(intake, "event_loop.block.duration", [(attributes, 500, 50.0)])
    (culprit,) = intake.look().found.culprits
    assert (culprit.count, culprit.total_s, culprit.causes) == (500, 50.0, (("wait", 500),))


def test_exports_are_cumulative_and_added_over_processes(intake):
    attributes = {"code.function.name": "card.charge", "event_loop.block.cause": "wait"}
    for sender, count in (("1", 1), ("1", 4), ("2", 3)):
        send_histogram(intake, "event_loop.block.duration", [(attributes, count, 0.1 * count)], sender)
    assert intake.look().found.blocks == 7


def test_metrics_of_processes_that_have_gone_stay_in_the_sum(intake, monkeypatch):
    monkeypatch.setattr(ledger_module, "MAX_PROCESSES", 3)
    attributes = {"code.function.name": "card.charge", "event_loop.block.cause": "wait"}
    for number in range(10):
        send_histogram(intake, "event_loop.block.duration", [(attributes, 2, 0.2)], str(number))
    assert len(intake._ledger._processes) == 3
    assert intake.look().found.blocks == 20


def test_process_that_gets_the_number_of_another_is_another(intake):
    for count in (50, 2):
        send_histogram(intake, "event_loop.lag", [({}, count, 0.01)], "1")
    assert intake.look().found.lag.count == 52


def test_delays_are_told_by_culprit_and_by_route(intake):
    points = [
        ({"code.function.name": "card.charge", "http.route": "/stock"}, 4, 0.4),
        ({"code.function.name": "card.charge", "http.route": "/cart"}, 1, 0.1),
    ]
    send_histogram(intake, "event_loop.delay.duration", points)
    attributes = {"code.function.name": "card.charge", "event_loop.block.cause": "wait"}
    send_histogram(intake, "event_loop.block.duration", [(attributes, 1, 0.1)], "2")
    found = intake.look().found
    assert [(route.route, route.delayed) for route in found.routes] == [("/stock", 4), ("/cart", 1)]
    assert (found.culprits[0].delayed, found.culprits[0].taken_s) == (5, pytest.approx(0.5))


@pytest.mark.parametrize("victim_first", [False, True])
def test_request_that_waited_for_the_worst_block_is_kept(intake, victim_first):
    victim, culprit = Traces(), Traces()
    waited = {"event_loop.delay.max": 0.09, "event_loop.delay.culprit.trace_id": "01" * 16}
    add_event(victim.span(2, 3, "GET /stock"), "event_loop.delayed", START, waited)
    add_event(culprit.span(1, 1), "event_loop.blocked", START, block_attributes())
    for traces in (victim, culprit) if victim_first else (culprit, victim):
        traces.send(intake)
    assert {span.name for span in intake.worst_spans()} == {"GET /pay", "GET /stock"}


def test_everything_is_bounded(intake, monkeypatch):
    for name in ("MAX_CULPRITS", "MAX_SPANS", "MAX_PLACES", "MAX_POINTS"):
        monkeypatch.setattr(ledger_module, name, 5)
    monkeypatch.setattr(intake_module, "KEPT_SPANS", 5)
    for number in range(200):
        traces = Traces()
        span = traces.span(number, 1)
        attributes = block_attributes(function=f"f{number}", **{"code.line.number": number})
        add_event(span, "event_loop.blocked", START, attributes)
        traces.span(number, 2)
        traces.send(intake)
    points = [
        ({"code.function.name": f"f{number}", "http.route": f"/{number}"}, 1, 0.1) for number in range(50)
    ]
    for sender in range(100):
        send_histogram(intake, "event_loop.delay.duration", points, str(sender))
    ledger = intake._ledger
    assert len(ledger._told) <= 6
    assert len(ledger._blocks) <= 5
    assert all(len(told.places) <= 5 for told in ledger._told.values())
    assert len(ledger._past.waits) <= 5
    assert len(ledger._processes) <= ledger_module.MAX_PROCESSES
    assert len(intake.worst_spans()) <= 10


def test_flame_graph_is_bounded(monkeypatch):
    from otel_loopblock.run import flame

    monkeypatch.setattr(flame, "MAX_NODES", 50)
    graph = flame.Flame()
    for number in range(100):
        graph.add(f'  File "a.py", line {number}, in f\n' * 100, 0.1)
    count, left = 0, [graph.root]
    while left:
        count += 1
        left += left.pop().children.values()
    assert count <= 50
    assert graph.root.total_s == pytest.approx(10.0)


def test_queries_and_resets_are_refused(intake):
    with pytest.raises(Refused):
        intake.ask("spans")
    with pytest.raises(Refused):
        intake.reset()
