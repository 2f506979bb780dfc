from __future__ import annotations

from otel_loopblock.local.findings import Findings, culprits
from tests.demo.records import blocked, delayed, link_to, make_span, request


def test_blocks_are_found_as_events_and_as_spans_of_their_own():
    carrier = request("/a", 0, 200, trace=1, events=[blocked(50, 100)])
    own = make_span("event_loop.blocked", 10, 40, trace=2, **blocked(10, 30, cause="cpu").attributes)

    first, second = Findings([carrier, own]).blocks

    assert (first.span, first.cause, first.duration_s) == (own, "cpu", 0.03)
    assert (second.span, second.call, second.line) == (carrier, "time.sleep", 28)
    assert second.ended_unix_ns - second.started_unix_ns == 100_000_000


def test_trace_lists_children_below_their_parents_by_time():
    server = request("/a", 0, 200, trace=1)
    late = make_span("late", 100, 150, parent=server)
    early = make_span("early", 10, 50, parent=server)
    inner = make_span("inner", 110, 120, parent=late)
    other = request("/b", 0, 10, trace=2)

    rows = Findings([inner, late, other, early, server]).trace(server.trace_id)

    assert [(row.span.name, row.depth) for row in rows] == [
        ("GET /a", 0),
        ("early", 1),
        ("late", 1),
        ("inner", 2),
    ]


def test_span_whose_parent_did_not_arrive_is_a_root():
    lost = request("/a", 0, 200, trace=1)
    child = make_span("child", 10, 20, parent=lost)
    assert [row.depth for row in Findings([child]).trace(child.trace_id)] == [0]


def test_delay_leads_to_the_block_and_the_link_is_looked_for_in_the_whole_trace():
    culprit = request("/slow", 0, 400, trace=1, events=[blocked(10, 50), blocked(200, 100)])
    server = request("/stock", 190, 320, trace=2, links=[link_to(culprit)])
    inner = make_span("inner", 195, 310, trace=2, parent=server, events=[delayed(205, 100, culprit)])
    unlinked = request("/stock", 190, 320, trace=3, events=[delayed(205, 100, culprit)])

    findings = Findings([culprit, server, inner, unlinked])
    delay, other = findings.delays

    block = findings.culprit_of(delay)
    assert block is not None
    assert block.duration_s == 0.1
    assert (findings.is_linked(delay), findings.is_linked(other)) == (True, False)
    assert findings.route(delay.span.trace_id) == "/stock"


def test_culprits_are_grouped_by_function_and_the_dearest_comes_first():
    span = request(
        "/a",
        0,
        900,
        trace=1,
        events=[
            blocked(0, 10, function="shop.short", cause="cpu"),
            blocked(20, 40, function="shop.short", cause="cpu"),
            blocked(70, 10, function="shop.short", cause="gc", **{"code.line.number": 99}),
            blocked(100, 300, function="shop.long", call=None),
        ],
    )

    dear, cheap = culprits(Findings([span]).blocks)

    assert (dear.function, dear.call, dear.causes) == ("shop.long", None, [("wait", 1)])
    assert (cheap.line, cheap.causes) == (28, [("cpu", 2), ("gc", 1)])
    assert (cheap.duration_s(0.5), cheap.duration_s(0.99)) == (0.01, 0.04)


def test_event_and_the_span_that_says_more_are_one_block():
    server = request("/payment", 0, 120, trace=1, events=[blocked(10, 100, **{"code.stacktrace": None})])
    full = blocked(10, 100).attributes
    child = make_span("event_loop.blocked", 10, 110, trace=1, parent=server, **full)
    alone = make_span("event_loop.blocked", 300, 400, trace=2, **full)
    findings = Findings([child, server, alone])

    assert [block.span for block in findings.blocks] == [server, alone]
    assert "payment" in findings.blocks[0].stacktrace
    assert [row.span for row in findings.trace(server.trace_id)] == [server]
    assert [row.span for row in findings.trace(alone.trace_id)] == [alone]
