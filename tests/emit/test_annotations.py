"""What is said of requests that waited: alike where it can be."""

from __future__ import annotations

import pytest
from opentelemetry.trace import SpanContext, TraceFlags

from otel_loopblock.emit.annotations import Annotations
from tests.emit.test_victims import CULPRIT, root_span

SAMPLED = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
REPORTED = CULPRIT._replace(carrier=SAMPLED)


@pytest.mark.parametrize(
    ("due", "expected"),
    [(None, 0.1), (99.0, 0.1), (100.0, 0.1), (100.001, 0.1), (100.034, 0.07), (100.098, 0.01)],
)
def test_delay_is_rounded_up_to_a_tenth_of_the_block(due, expected):
    delay = Annotations(REPORTED).of(due, root_span().start_time)

    assert delay.attributes["event_loop.delay.max"] == expected
    assert delay.delay_s == pytest.approx(expected)


@pytest.mark.parametrize(
    ("due", "expected_ms"), [(None, 1000), (100.0, 1000), (100.034, 1030), (100.098, 1090)]
)
def test_event_begins_so_long_before_the_end_of_the_block_as_it_says(due, expected_ms):
    span = root_span(start_time=500_000_000)

    delay = Annotations(REPORTED).of(due, span.start_time)

    assert delay.began_unix_ns == pytest.approx(expected_ms * 1_000_000, abs=1000)
    assert delay.began_unix_ns + delay.delay_s * 1e9 == pytest.approx(1_100_000_000, abs=1000)
    assert "event_loop.delay.before_start" not in delay.attributes


def test_event_does_not_begin_before_its_span_and_says_that_the_wait_did():
    span = root_span(start_time=1_150_000_000)

    delay = Annotations(REPORTED).of(None, span.start_time)

    assert delay.began_unix_ns == 1_150_000_000
    assert delay.attributes["event_loop.delay.before_start"] is True
    assert delay.attributes["event_loop.delay.max"] == 0.1


def test_those_that_waited_equally_long_share_what_is_said_of_them():
    annotations = Annotations(REPORTED)
    first, second, other = (annotations.of(due, 500_000_000) for due in (100.034, 100.036, 100.051))

    assert first.attributes is second.attributes
    assert first.attributes != other.attributes


def test_culprit_is_named_by_keys_that_a_search_for_culprits_does_not_find():
    attributes = Annotations(REPORTED).of(None, None).attributes

    assert attributes == {
        "event_loop.delay.max": 0.1,
        "event_loop.delay.culprit.cause": "wait",
        "event_loop.delay.culprit.trace_id": "00000000000000000000000000000001",
        "event_loop.delay.culprit.span_id": "0000000000000002",
    }


def test_culprit_that_is_not_sampled_is_named_and_not_linked():
    unsampled = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(TraceFlags.DEFAULT))
    annotations = Annotations(CULPRIT._replace(carrier=unsampled))

    assert annotations.of(None, None).attributes["event_loop.delay.culprit.span_id"] == "0000000000000002"
    assert annotations.link is None
    assert Annotations(REPORTED).link is SAMPLED
