"""What is said of requests that waited: alike where it can be, within the limits of the user's spans."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags

from otel_loopblock.emit.annotations import Annotations
from otel_loopblock.emit.events import add_event, add_link
from tests.emit.test_victims import CULPRIT, root_span

SAMPLED = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
REPORTED = CULPRIT._replace(carrier=SAMPLED)


def add_delayed(annotations, span, unix_ns):
    add_event(span, "event_loop.delayed", annotations.of(None, span.start_time)[0], unix_ns)


@pytest.mark.parametrize(
    ("due", "expected"),
    [(None, 0.1), (99.0, 0.1), (100.0, 0.1), (100.001, 0.1), (100.034, 0.07), (100.098, 0.01)],
)
def test_delay_is_rounded_up_to_a_tenth_of_the_block(due, expected):
    span = root_span()

    late, _ = Annotations(REPORTED).of(due, span.start_time)

    assert late.read()["event_loop.delay.max"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("due", "expected_ms"), [(None, 1000), (100.0, 1000), (100.034, 1030), (100.098, 1090)]
)
def test_event_begins_so_long_before_the_end_of_the_block_as_it_says(due, expected_ms):
    span = root_span(start_time=500_000_000)

    late, began_unix_ns = Annotations(REPORTED).of(due, span.start_time)

    assert began_unix_ns == pytest.approx(expected_ms * 1_000_000, abs=1000)
    assert began_unix_ns + late.read()["event_loop.delay.max"] * 1e9 == pytest.approx(1_100_000_000, abs=1000)


def test_event_does_not_begin_before_its_span():
    span = root_span(start_time=1_050_000_000)

    _, began_unix_ns = Annotations(REPORTED).of(None, span.start_time)

    assert began_unix_ns == 1_050_000_000


def test_events_are_the_same_however_they_were_added():
    annotations = Annotations(REPORTED)
    spans = [root_span() for _ in range(3)]
    for number, span in enumerate(spans):
        add_delayed(annotations, span, 1000 + number)
        add_link(span, annotations.link)

    assert [dict(span.events[0].attributes) for span in spans] == [dict(spans[0].events[0].attributes)] * 3
    assert [span.events[0].name for span in spans] == ["event_loop.delayed"] * 3
    assert [span.events[0].timestamp for span in spans] == [1000, 1001, 1002]
    assert [[link.context for link in span.links] for span in spans] == [[SAMPLED]] * 3


def test_users_limit_of_event_attributes_holds_for_each():
    tracer = TracerProvider(span_limits=SpanLimits(max_event_attributes=2)).get_tracer("limited")
    annotations = Annotations(REPORTED)
    spans = [tracer.start_span("GET /") for _ in range(2)]
    for span in spans:
        add_delayed(annotations, span, 1000)

    assert [len(span.events[0].attributes) for span in spans] == [2, 2]


def test_culprit_that_is_not_sampled_is_named_and_not_linked():
    unsampled = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.DEFAULT))
    annotations = Annotations(CULPRIT._replace(carrier=unsampled))
    span = root_span()
    add_delayed(annotations, span, 1000)

    assert span.events[0].attributes["event_loop.block.span_id"] == "0000000000000002"
    assert annotations.link is None
