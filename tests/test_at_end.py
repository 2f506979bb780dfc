"""What is pending on a span is done just before it ends, once, and never hurts."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider

from otel_loopblock import at_end, guard


def test_work_is_done_in_order_while_the_span_records(telemetry):
    telemetry.instrument()
    span = telemetry.tracer.start_span("GET /")
    done = []
    for number in range(2):
        at_end.pending_of(span).append((lambda of, each: done.append((of.is_recording(), each)), number))
    before = list(done)
    span.end()
    span.end()

    assert at_end.is_hooked(span)
    assert before == []
    assert done == [(True, 0), (True, 1)]


def test_work_that_fails_is_counted_and_the_span_ends(telemetry):
    telemetry.instrument()
    guard.failures.clear()
    span = telemetry.tracer.start_span("GET /")
    done = []
    at_end.pending_of(span).append((lambda of, each: 1 / 0, None))
    at_end.pending_of(span).append((lambda of, each: done.append(each), 1))
    span.end()

    assert not span.is_recording()
    assert done == [1]
    assert guard.failures["finish a span"] == 1
    guard.failures.clear()


def test_without_the_hook_nothing_would_be_done():
    span = TracerProvider().get_tracer("test").start_span("GET /")

    assert not at_end.is_hooked(span)
    span.end()
