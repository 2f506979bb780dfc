"""From a blocked loop to what Jaeger and Prometheus show of it."""

from __future__ import annotations

import httpx

from tests.e2e.stack import wait_for, wait_for_blocked
from tests.service.scenarios import BLOCK_S

CAUSES = {"wait", "descheduled"}
"""Of a sleep; on a machine that is busy otherwise, the process may not get the CPU back when it wakes."""

BY_THE_REQUEST = (
    '{job="scenarios", http_route="/block_then_return", code_function_name="tests.service.scenarios.block"}'
)
"""Other blocks are those of a machine that is busy otherwise."""


def test_jaeger_has_the_event_on_the_request_that_blocked(run):
    span = wait_for_blocked(run.stack, run.trace_with_collector)
    assert span.kind in (2, "SPAN_KIND_SERVER")
    assert span.name == "GET /block_then_return"
    event = span.event("event_loop.blocked")
    assert BLOCK_S <= event["event_loop.block.duration"] <= span.duration_s
    assert event["event_loop.block.cause"] in CAUSES
    assert event["code.function.name"] == "tests.service.scenarios.block"
    assert event["event_loop.block.call"] == "time.sleep"
    assert event["code.file.path"].endswith("scenarios.py")
    assert "code.stacktrace" not in event
    assert span.attributes["event_loop.blocked"] is True
    (child, *_) = [
        other
        for other in run.stack.jaeger.trace(run.trace_with_collector)
        if other.name == "event_loop.blocked" and other.parent_id == span.span_id
    ]
    assert child.attributes["event_loop.type"] == "uvloop"
    assert child.attributes["code.stacktrace"].rstrip().endswith("in block\n  [in time.sleep]")
    assert span.started_unix_ns <= child.started_unix_ns < child.ended_unix_ns <= span.ended_unix_ns


def test_jaeger_has_a_span_of_its_own_for_a_block_outside_of_any_request(stack):
    def standalone():
        return [
            span
            for span in stack.jaeger.find("scenarios", "event_loop.blocked")
            if span.name == "event_loop.blocked"
            and span.attributes.get("code.function.name") == "tests.service.scenarios.block"
            and not span.parent_id
        ]

    (span, *_) = wait_for(standalone, "the standalone span")
    assert span.attributes["event_loop.block.cause"] in CAUSES
    assert span.duration_s >= BLOCK_S


def test_jaeger_leads_from_a_request_that_had_to_wait_to_the_one_that_made_it_wait(stack, report):
    def waited():
        for span in stack.jaeger.find("scenarios", "GET /innocent"):
            delayed = span.event("event_loop.delayed")
            if span.name != "GET /innocent" or not delayed:
                continue
            if delayed.get("event_loop.delay.culprit.function") == "tests.service.scenarios.block":
                return span
        return None

    victim = wait_for(waited, "event_loop.delayed in Jaeger")
    delayed = victim.event("event_loop.delayed")
    culprit = wait_for_blocked(stack, delayed["event_loop.delay.culprit.trace_id"])
    blocked = culprit.event("event_loop.blocked")
    assert culprit.name == f"GET {delayed['event_loop.delay.culprit.route']}"
    assert culprit.span_id == delayed["event_loop.delay.culprit.span_id"]
    assert (culprit.trace_id, culprit.span_id) in victim.links
    assert culprit.started_unix_ns < victim.ended_unix_ns
    assert victim.started_unix_ns < culprit.ended_unix_ns + 1e9, "what came during the block begins after it"
    assert 0 < delayed["event_loop.delay.max"] <= blocked["event_loop.block.duration"]
    report.append(
        f"{victim.name} waited {delayed['event_loop.delay.max'] * 1e3:.0f} ms at most; "
        f"its link leads to {culprit.name} in Jaeger"
    )


def test_jaeger_has_a_span_for_a_loop_that_has_not_come_back_yet(stack):
    def hanging():
        return [
            span
            for span in stack.jaeger.find("limited", "event_loop.blocked")
            if span.attributes.get("code.function.name") == "tests.service.scenarios.stuck"
        ]

    span = wait_for(hanging, "the span of the hanging loop")[0]
    assert span.name == "event_loop.blocked"
    assert span.attributes["event_loop.block.duration"] >= 0.5


def test_prometheus_reaches_everything_that_it_is_told_to_scrape(prometheus):
    wanted = {"services", "collector", "jaeger", "prometheus"}
    up = wait_for(
        lambda: (health := prometheus.targets()) and set(health.values()) == {"up"} and health,
        "all targets to be up",
    )
    assert set(up) == wanted


def test_nothing_in_the_collectors_configuration_is_deprecated(stack):
    said = stack.collector.output()
    assert "Everything is ready" in said
    assert "deprecated" not in said.lower()


def test_the_collector_offers_exemplars_in_openmetrics(run, stack):
    def exemplars():
        answer = httpx.get(
            f"http://{stack.addresses['collector:8889']}/metrics",
            headers={"Accept": "application/openmetrics-text; version=1.0.0"},
        )
        return [
            line
            for line in answer.text.splitlines()
            if line.startswith("event_loop_block_duration_seconds_bucket") and "# {" in line
        ]

    run.service.get("/block_then_return")  # offered from the next export of the service to the one after
    for line in wait_for(exemplars, "exemplars at the Collector"):
        assert 'trace_id="' in line
        assert 'span_id="' in line


def test_prometheus_has_the_histograms_by_service_instance_loop_and_route(prometheus, report):
    for metric in ("event_loop_lag_seconds_bucket", "event_loop_block_duration_seconds_bucket"):
        series = wait_for(lambda: prometheus.query(f'{metric}{{job="scenarios"}}'), metric)  # noqa: B023
        report.append(f'{prometheus.name}: {metric}{{job="scenarios"}}: {len(series)} series')
        for found in series:
            assert found["metric"]["event_loop_type"] == "uvloop"
            assert len(found["metric"]["instance"]) == 36, "service.instance.id, not the Collector's address"
    counts = prometheus.query(f"event_loop_block_duration_seconds_count{BY_THE_REQUEST}")
    assert {count["metric"]["event_loop_block_cause"] for count in counts} <= CAUSES
    assert counts


def test_an_exemplar_of_a_block_leads_to_a_trace_that_jaeger_has(stack, prometheus, report):
    expression = f"event_loop_block_duration_seconds_bucket{BY_THE_REQUEST}"
    exemplars = wait_for(lambda: prometheus.exemplars(expression), "exemplars in Prometheus")
    exemplar = exemplars[-1]
    span = wait_for_blocked(stack, exemplar["labels"]["trace_id"])
    assert span.span_id == exemplar["labels"]["span_id"]
    assert float(exemplar["value"]) >= BLOCK_S
    report.append(
        f"{prometheus.name}: exemplars of {expression}: {len(exemplars)}; "
        f"trace {span.trace_id} is in Jaeger: {span.name}"
    )


def test_the_hanging_loop_showed_while_it_hung(prometheus):
    ongoing = 'max_over_time(event_loop_block_ongoing_seconds{job="limited"}[15m])'
    wait_for(lambda: (prometheus.value(ongoing) or 0) > 1, "the ongoing block in Prometheus")
