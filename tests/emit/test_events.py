"""Events and links on spans, of the SDK and of any other kind."""

from __future__ import annotations

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext

from otel_loopblock.emit.events import add_event, add_link, add_to_many
from otel_loopblock.emit.late import LateAttributes
from tests.emit.test_late import ATTRIBUTES, Counted, span_of


class OwnSpan(Span):
    """Keeps the events that it is given."""

    def add_event(self, name, attributes=None, timestamp=None):
        self.given = (name, attributes, timestamp)


class ForeignSpan(NonRecordingSpan):
    """Not of the SDK."""

    def add_event(self, name, attributes=None, timestamp=None):
        self.given = (name, attributes, timestamp)


@pytest.mark.parametrize("kind", [OwnSpan, ForeignSpan])
def test_span_of_another_kind_gets_them_at_once(kind):
    context = span_of().get_span_context()
    span = OwnSpan("GET /", context) if kind is OwnSpan else ForeignSpan(context)
    add_event(span, "event_loop.blocked", LateAttributes(Counted()), 1000)

    assert span.given == ("event_loop.blocked", ATTRIBUTES, 1000)


def test_event_is_not_added_to_a_span_that_has_ended(caplog):
    span = span_of()
    span.end()
    add_event(span, "event_loop.blocked", LateAttributes(Counted()), 1000)

    assert not span.events
    assert "ended span" in caplog.text


def test_what_is_dropped_for_want_of_room_is_counted():
    span = span_of(max_events=2, max_links=1)
    for _ in range(3):
        add_event(span, "event_loop.delayed", LateAttributes(Counted()), 1000)
        add_link(span, Link(span.get_span_context()))

    assert (len(span.events), span.dropped_events) == (2, 1)
    assert (len(span.links), span.dropped_links) == (1, 2)


class OwnLinks(Span):
    """Keeps the links that it is given."""

    def add_link(self, context, attributes=None):
        self.given = context


def test_link_may_be_shared_and_a_span_of_another_kind_makes_its_own():
    link = Link(span_of().get_span_context(), BoundedAttributes())
    spans = [span_of(), span_of()]
    own = OwnLinks("GET /", span_of().get_span_context())
    for span in (*spans, own):
        add_link(span, link)

    assert [list(span.links) for span in spans] == [[link]] * 2
    assert own.given is link.context
    assert not own.links


def test_link_is_not_added_to_a_span_that_has_ended(caplog):
    span = span_of()
    span.end()
    add_link(span, Link(span.get_span_context()))

    assert not span.links
    assert "ended span" in caplog.text


class Alike:
    """What is said of all: the same event, and a link."""

    def __init__(self, link=None):
        self.late = LateAttributes(Counted())
        self.link = link
        self.unix_ns = 1000
        self.asked = []

    def of(self, due, started_unix_ns):
        self.asked.append((due, started_unix_ns))
        return self.late, self.unix_ns


LINK = Link(SpanContext(5, 6, is_remote=False), BoundedAttributes())


def victims_of(*spans):
    return [(span, span, None, 1) for span in spans]


def test_many_get_what_each_would_have_got():
    alone, *many = [span_of() for _ in range(4)]
    add_event(alone, "event_loop.delayed", LateAttributes(Counted()), 1000)
    add_link(alone, LINK)

    assert add_to_many(victims_of(*many), Alike(LINK), 10) == ([], 0)

    def told(span):
        (event,), links = span.events, span.links
        return event.name, event.timestamp, dict(event.attributes), [link.context for link in links]

    assert [told(span) for span in many] == [told(alone)] * 3


def test_each_is_told_by_when_it_came_due_and_when_its_span_began():
    early, late = span_of(), span_of()
    alike = Alike()

    add_to_many([(early, early, 1.5, 1), (late, early, None, 1)], alike, 10)

    assert alike.asked == [(1.5, early.start_time), (None, late.start_time)]


def test_spans_of_another_kind_and_ended_ones_are_left():
    class Own(Span):
        def add_event(self, *args, **kwargs):
            raise AssertionError

    class OwnLink(Span):
        def add_link(self, *args, **kwargs):
            raise AssertionError

    ended, good, *own = (span_of() for _ in range(4))
    ended.end()
    own[0].__class__, own[1].__class__ = Own, OwnLink
    left = victims_of(NonRecordingSpan(LINK.context), ended, *own)

    assert add_to_many([*left, *victims_of(good)], Alike(LINK), 10) == (left, 0)
    assert len(good.events) == 1
    assert not ended.events


def test_those_that_carry_enough_get_no_more_events_nor_links():
    full, other = span_of(), span_of()
    other.add_event("another")
    other.add_event("another")

    alike = Alike(LINK)
    assert add_to_many(victims_of(full, other), alike, 2) == ([], 0)
    assert add_to_many(victims_of(full, other), alike, 2) == ([], 0)
    assert add_to_many(victims_of(full, other), alike, 2) == ([], 2)
    assert [event.name for event in full.events] == ["event_loop.delayed"] * 2
    assert [event.name for event in other.events] == ["another"] * 2 + ["event_loop.delayed"] * 2
    assert len(full.links) == len(other.links) == 2


def test_event_that_a_full_span_drops_is_counted():
    span = span_of(max_events=1)
    span.add_event("another")

    assert add_to_many(victims_of(span), Alike(), 10) == ([], 0)
    assert [event.name for event in span.events] == ["event_loop.delayed"]
    assert span.dropped_events == 1


def test_link_goes_to_the_request_while_it_records_and_else_to_the_span_in_it():
    root, ended, inner, left = (span_of() for _ in range(4))
    ended.end()
    add_to_many([(inner, root, None, 1), (left, ended, None, 1)], Alike(LINK), 10)

    assert [len(span.links) for span in (root, inner, ended, left)] == [1, 0, 0, 1]


def test_events_share_only_what_is_alike():
    tracer = TracerProvider().get_tracer("test")
    spans = [tracer.start_span("GET /"), span_of(max_event_attributes=1), tracer.start_span("GET /")]
    alike = Alike()
    add_to_many(victims_of(spans[1], spans[0]), alike, 10)
    alike.unix_ns = 2000
    add_to_many(victims_of(spans[2]), alike, 10)

    assert [len(span.events[0].attributes) for span in spans] == [3, 1, 3]
    assert [span.events[0].timestamp for span in spans] == [1000, 1000, 2000]
