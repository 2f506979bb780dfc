"""The forms of a report: a short event on the request's span, a span with everything, both searchable."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind

from otel_loopblock.config import Config

SHORT = [
    "event_loop.block.duration",
    "event_loop.block.cause",
    "code.function.name",
    "event_loop.block.call",
    "code.file.path",
    "code.line.number",
    "event_loop.block.advice",
]
DEFAULT = Config().report
THRESHOLD_MS = 25
"""A busy machine makes blocks of its own, shorter ones mostly."""


def stall(seconds=0.05):
    time.sleep(seconds)


async def request(telemetry, name="GET /x", seconds=0.05):
    """A handler that blocks, returns and ends its span, all in one callback."""
    with telemetry.tracer.start_as_current_span(name, kind=SpanKind.SERVER):
        stall(seconds)


def children(telemetry, parent):
    return [span for span in telemetry.spans("event_loop.blocked") if span.parent == parent.context]


def test_event_says_in_short_what_the_child_span_says_in_full(telemetry, run):
    telemetry.instrument(report=DEFAULT, threshold_ms=THRESHOLD_MS)

    run(request(telemetry))

    (server,) = telemetry.spans("GET /x")
    event = server.events[0]
    (child,) = children(telemetry, server)
    assert list(event.attributes) == SHORT
    assert event.attributes["code.function.name"] == f"{__name__}.stall"
    assert event.attributes.items() <= child.attributes.items()
    assert {"code.stacktrace", "event_loop.block.samples", "thread.name"} <= set(child.attributes)
    assert event.timestamp == child.start_time


@pytest.mark.parametrize("form", ["event", "span"])
def test_one_form_alone_says_all(telemetry, run, form):
    telemetry.instrument(report=form, threshold_ms=THRESHOLD_MS)

    run(request(telemetry))

    (server,) = telemetry.spans("GET /x")
    found = [event.attributes for event in server.events] + [
        span.attributes for span in children(telemetry, server)
    ]
    assert len(found) == 1
    assert [*SHORT, "event_loop.block.threshold", "code.stacktrace"] == [
        name for name in found[0] if name in (*SHORT, "event_loop.block.threshold", "code.stacktrace")
    ]


def test_child_span_is_made_on_another_thread_than_the_loops(telemetry, run):
    started_on = {}

    class Processor(SpanProcessor):
        def on_start(self, span, parent_context=None):
            started_on[span.name] = threading.current_thread().name

    telemetry.tracer_provider.add_span_processor(Processor())
    telemetry.instrument(report=DEFAULT, threshold_ms=THRESHOLD_MS)

    run(request(telemetry))

    (server,) = telemetry.spans("GET /x")
    assert len(children(telemetry, server)) == 1
    assert started_on["GET /x"] == threading.current_thread().name
    assert started_on["event_loop.blocked"] == "otel-loopblock-worker"


def test_child_spans_lie_within_their_parents(telemetry, run):
    """Jaeger doubts the clock, and moves a span, that begins before its parent or ends after it."""
    count = 200
    telemetry.instrument(report=DEFAULT, threshold_ms=5, max_events_per_second=1e6)

    async def main():
        for number in range(count):
            await asyncio.create_task(request(telemetry, f"GET /{number}", 0.006))

    run(main())

    servers = {span.context.span_id: span for span in telemetry.spans() if span.kind is SpanKind.SERVER}
    own = [span for span in telemetry.spans("event_loop.blocked") if span.parent is not None]
    outside = [
        span
        for span in own
        for parent in [servers[span.parent.span_id]]
        if not parent.start_time <= span.start_time < span.end_time <= parent.end_time
    ]
    assert len(own) == count
    assert outside == []
    # What is cut off is a matter of reading clocks, not of the block.
    assert all(span.end_time - span.start_time > 5_500_000 for span in own)


def test_span_that_is_given_an_end_in_the_past_holds_its_child(telemetry, run):
    telemetry.instrument(report=DEFAULT, threshold_ms=THRESHOLD_MS)

    async def main():
        span = telemetry.tracer.start_span("GET /x")
        stall()
        ended = time.time_ns()
        stall(0.02)
        span.end(ended)

    run(main())

    (server,) = telemetry.spans("GET /x")
    (child,) = children(telemetry, server)
    assert server.start_time <= child.start_time < child.end_time <= server.end_time


def test_span_and_its_local_root_can_be_searched_for(telemetry, run):
    telemetry.instrument(report=DEFAULT, threshold_ms=THRESHOLD_MS)

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            for name in ("first", "second"):
                with telemetry.tracer.start_as_current_span(name):
                    stall(0.03)
            await asyncio.sleep(0.001)
            with telemetry.tracer.start_as_current_span("innocent"):
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.001)
            stall(0.03)

    run(main())

    first, second, root, innocent = (
        telemetry.spans(name)[0] for name in ("first", "second", "GET /x", "innocent")
    )
    for span, below in ((first, []), (second, []), (root, [first, second, innocent])):
        durations = [
            event.attributes["event_loop.block.duration"] for each in (span, *below) for event in each.events
        ]
        assert span.attributes == {
            "event_loop.blocked": True,
            "event_loop.block.count": len(durations),
            "event_loop.blocked_time": pytest.approx(sum(durations), abs=1e-5),
        }
        assert len(durations) >= 1 + len(below[:2])
    assert bool(innocent.attributes) == bool(innocent.events)  # a busy machine


def test_block_that_the_rate_limit_leaves_out_marks_its_span_all_the_same(telemetry, run):
    telemetry.instrument(report=DEFAULT, max_events_per_second=0.001)

    async def main():
        for _ in range(2):
            await asyncio.create_task(request(telemetry))

    run(main())

    spans = telemetry.spans("GET /x")
    names = [event.name for span in spans for event in span.events]
    assert names.count("event_loop.blocked") <= 1  # something else may have been the first
    assert [span.attributes["event_loop.block.count"] for span in spans] == [1, 1]


def test_event_tells_how_many_were_made_to_wait_although_its_span_ends_in_the_block(telemetry, run):
    telemetry.instrument(report=DEFAULT, threshold_ms=THRESHOLD_MS)

    async def victim():
        with telemetry.tracer.start_as_current_span("GET /victim", kind=SpanKind.SERVER):
            await asyncio.sleep(0.15)

    async def main():
        await asyncio.create_task(request(telemetry, "GET /first"))
        victims = [asyncio.create_task(victim()) for _ in range(3)]
        await asyncio.sleep(0.005)
        await asyncio.create_task(request(telemetry, seconds=0.3))
        await asyncio.wait(victims)

    run(main())

    (server,) = telemetry.spans("GET /x")
    (child,) = children(telemetry, server)
    assert list(server.events[0].attributes) == [*SHORT, "event_loop.block.delayed_requests"]
    assert server.events[0].attributes["event_loop.block.delayed_requests"] == 3
    assert child.attributes["event_loop.block.delayed_requests"] == 3


def test_seconds_are_rounded_to_microseconds(telemetry, run):
    telemetry.instrument(report=DEFAULT, threshold_ms=THRESHOLD_MS)

    run(request(telemetry))

    (server,) = telemetry.spans("GET /x")
    (child,) = children(telemetry, server)
    floats = {name: value for name, value in child.attributes.items() if isinstance(value, float)}
    assert len(floats) > 3
    assert floats == {name: round(value, 6) for name, value in floats.items()}


@pytest.mark.parametrize(("name", "shown"), [(None, None), ("refill the cache", "refill the cache")])
def test_task_is_named_only_where_the_application_did(telemetry, run, name, shown):
    telemetry.instrument(report=DEFAULT, threshold_ms=THRESHOLD_MS)

    async def main():
        await asyncio.create_task(request(telemetry), name=name)

    run(main())

    (server,) = telemetry.spans("GET /x")
    (child,) = children(telemetry, server)
    assert child.attributes.get("asyncio.task.name") == shown


def test_block_after_its_request_has_a_trace_of_its_own_and_a_link(telemetry, run):
    """A task that goes on in the context of a request which has ended."""
    telemetry.instrument(report=DEFAULT, threshold_ms=THRESHOLD_MS)

    async def clean_up():
        await asyncio.sleep(0.02)
        stall()

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            task = asyncio.create_task(clean_up())
        await task

    run(main())

    (server,) = telemetry.spans("GET /x")
    own = [
        span
        for span in telemetry.spans("event_loop.blocked")
        if span.attributes.get("code.function.name") == f"{__name__}.stall"
    ]
    assert [(span.parent, [link.context for link in span.links]) for span in own] == [
        (None, [server.context])
    ]
    assert not server.attributes
