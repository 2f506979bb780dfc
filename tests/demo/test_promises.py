"""Each promise, seen and not seen."""

from __future__ import annotations

import dataclasses

import pytest

from otel_loopblock.demo.endpoints import ENDPOINTS, INNOCENT, THREADED
from otel_loopblock.demo.promises import SATURATED, promises
from tests.demo.records import all_metrics, all_spans, answer, blocked, load, request, whole_run


def missed(run):
    return [f"{promise.text}: {promise.seen}" for promise in promises(run) if not promise.kept]


def without_events(spans, route):
    traces = {span.trace_id for span in spans if span.attributes.get("http.route") == route}
    return [dataclasses.replace(span, events=()) if span.trace_id in traces else span for span in spans]


def changed(spans, function, **attributes):
    """The spans, with other attributes on the blocks of a function."""

    def change(event):
        if event.attributes.get("code.function.name") != function:
            return event
        return dataclasses.replace(event, attributes={**event.attributes, **attributes})

    return [dataclasses.replace(span, events=tuple(map(change, span.events))) for span in spans]


def test_all_are_kept_when_everything_is_there():
    assert missed(whole_run()) == []


def test_request_without_an_answer_is_missed():
    answers = [answer("/blocking/payment", 1), answer(INNOCENT, 5, status=0, error="connection refused")]
    assert missed(whole_run(before=load(0, 1000, answers))) == [
        "Every request is answered: 1 of 9 were not; the first: /stock: connection refused"
    ]


def test_trace_that_did_not_arrive_is_missed():
    spans = [span for span in all_spans() if span.attributes.get("http.route") != "/offloaded/bundle"]
    assert missed(whole_run(spans=spans)) == ["Every request's trace arrives over OTLP: 1 of 12 did not"]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_endpoint_without_a_block_is_missed(endpoint):
    spans = without_events(all_spans(), endpoint.blocking)
    line, *others = missed(whole_run(spans=spans))
    assert len(others) == (endpoint is ENDPOINTS[0])  # the victim's culprit is gone as well
    assert line.startswith(f"GET {endpoint.blocking} ")
    assert line.endswith("no block of 10 ms or more is on its traces")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "other"}, "no span event_loop.saturated was received"),
        ({"attributes": {"event_loop.saturation.functions": ("json.loads",)}}, "none of 1 spans names it"),
        ({"links": ()}, "no link leads to a request for it"),
    ],
)
def test_full_loop_that_is_not_explained_is_missed(change, why):
    spans = [dataclasses.replace(span, **change) if span.name == SATURATED else span for span in all_spans()]
    [line] = missed(whole_run(spans=spans))
    assert line.startswith("GET /quote fills the loop when many ask")
    assert line.endswith(why)


def test_wrong_culprit_is_missed():
    spans = changed(all_spans(), ENDPOINTS[1].function, **{"code.function.name": "starlette.run"})
    (line,) = missed(whole_run(spans=spans))
    assert line.endswith("its blocks name starlette.run")


def test_line_of_another_function_is_missed():
    spans = changed(all_spans(), ENDPOINTS[1].function, **{"code.line.number": 0})
    (line,) = missed(whole_run(spans=spans))
    assert line.endswith("its blocks name line 0, which is none of the function")


def test_thread_that_keeps_the_gil_and_is_not_named_is_missed():
    (line,) = missed(whole_run(spans=without_events(all_spans(), THREADED)))
    assert line.endswith("no wait for the GIL of 10 ms is on its traces")

    other = changed(
        all_spans(), "otel_loopblock.demo.shop.dearest_product", **{"code.function.name": "other"}
    )
    (line,) = missed(whole_run(spans=other))
    assert line.endswith("they name other")


def test_nobody_who_had_to_wait_is_missed():
    spans = without_events(all_spans(), INNOCENT)
    (line,) = missed(whole_run(spans=spans))
    assert line.endswith("no event event_loop.delayed was received")


def test_victim_without_a_link_is_missed():
    spans = [span if span.name == SATURATED else dataclasses.replace(span, links=()) for span in all_spans()]
    (line,) = missed(whole_run(spans=spans))
    assert line.endswith("none of 1 has a link to a trace with a block")


def test_wrong_call_is_missed():
    spans = changed(all_spans(), ENDPOINTS[2].function, **{"event_loop.block.call": "open"})
    (line,) = missed(whole_run(spans=spans))
    assert line.endswith("its blocks name the call open")


def test_wrong_cause_is_missed_where_it_does_not_depend_on_the_machine():
    spans = changed(all_spans(), ENDPOINTS[0].function, **{"event_loop.block.cause": "cpu"})
    (line,) = missed(whole_run(spans=spans))
    assert line.endswith("the cause should be wait, and is cpu")
    spans = changed(all_spans(), ENDPOINTS[1].function, **{"event_loop.block.cause": "descheduled"})
    assert missed(whole_run(spans=spans)) == []


def test_block_on_another_requests_trace_is_missed():
    event = blocked(220, 100, function=ENDPOINTS[0].function)
    spans = [*all_spans(), request(INNOCENT, 200, 350, trace=77, events=[event])]
    (line,) = missed(whole_run(spans=spans))
    assert line == "No block is on the trace of another request: 1 are; shop.charge_card is on /stock"


def test_block_of_an_offloaded_function_is_missed():
    event = blocked(1600, 100, function=ENDPOINTS[0].function)
    spans = [*all_spans(), request(ENDPOINTS[0].offloaded, 1590, 1720, trace=11, events=[event])]
    (line,) = missed(whole_run(spans=spans))
    assert line.startswith("Offloaded, the same functions block the loop no more: 1 blocks")


def test_metric_that_did_not_arrive_is_missed():
    lines = missed(whole_run(metrics=[]))
    assert [line.rpartition(": ")[2] for line in lines] == [
        "event_loop.block.duration was not received",
        "event_loop.lag was not received",
    ]


def test_exemplar_of_no_blocked_trace_is_missed():
    spans = all_spans()
    metrics = all_metrics([span for span in spans if not span.events])
    (line,) = missed(whole_run(spans=spans, metrics=metrics))
    assert line.endswith("0 exemplars, none with the trace of a block")


def test_lag_that_does_not_shrink_is_missed():
    metrics = all_metrics(all_spans())
    (last,) = (m for m in metrics if m.name == "event_loop.lag" and m.points[0].count == 69)
    worse = dataclasses.replace(last, points=(dataclasses.replace(last.points[0], sum=9.0),))
    metrics[metrics.index(last)] = worse
    (line,) = missed(whole_run(metrics=metrics))
    assert line == "Offloading halves the loop's mean lag, at least: 88 ms before, 154 ms after"
