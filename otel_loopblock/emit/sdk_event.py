"""The SDK's ``Event`` with attributes that come later, stored under names of the SDK's own."""

from __future__ import annotations

from collections import deque
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, Span
from opentelemetry.trace import Link, SpanContext

from otel_loopblock import guard
from otel_loopblock.emit.annotations import Annotations
from otel_loopblock.emit.attributes import DELAYED
from otel_loopblock.emit.late import LateAttributes
from otel_loopblock.emit.victims import Victim

_add_event, _add_link = Span.add_event, Span.add_link


class _Sample(Span):
    """The SDK lets nobody but its tracers make a ``Span``."""


def _is_known() -> bool:
    """Whether a span of this SDK keeps its events and links where they are stored here."""
    span: Any = _Sample("a span", SpanContext(1, 1, is_remote=False))
    span.add_event("an event")
    span.add_link(span.context)
    limits = span._limits
    kept = span._events, span._links
    return (
        span._start_time is None
        and span._end_time is None
        and all(isinstance(each._dq, deque) and len(each) == len(each._dq) == 1 for each in kept)
        and all(hasattr(limits, name) for name in ("max_event_attributes", "max_attribute_length"))
    )


# Asked here, so that another SDK is found out before there is a block.
if not _is_known():
    raise ImportError("an SDK of another shape")


class LateEvent(Event):
    """An event that works out its attributes when they are read.

    Args:
        name: of the event.
        attributes: its attributes.
        unix_ns: its time.
        limits: of the span that it is on.
    """

    def __init__(self, name: str, attributes: LateAttributes, unix_ns: int, limits: Any) -> None:
        self._name = name
        self._timestamp = unix_ns
        self._late = attributes
        self._limits = limits

    @property
    def _attributes(self) -> BoundedAttributes:  # type: ignore[override]
        # Where the base class keeps them: all that it makes of them stays as it is.
        try:
            return self._work_out()
        except Exception:
            guard.failed("describe a block")
            return BoundedAttributes()

    def _work_out(self) -> BoundedAttributes:
        late, limits = self._late, self._limits
        cached = late.cached
        if cached is None or cached[0] is not limits:
            cached = late.cached = (
                limits,
                BoundedAttributes(
                    limits.max_event_attributes,
                    late.read(),
                    max_value_len=limits.max_attribute_length,
                    immutable=True,
                ),
            )
        bounded: BoundedAttributes = cached[1]
        return bounded


def store_many(victims: list[Victim], annotations: Annotations, most: int) -> tuple[list[Victim], int]:
    """Give requests that waited their events and links. In one go: what is touched is cold memory already.

    Args:
        victims: the requests.
        annotations: what is said of them.
        most: how many of these events a span may carry.

    Returns:
        Those whose spans are no such as :func:`store` takes; and how many carry enough already.
    """
    left: list[Victim] = []
    suppressed = 0
    link, of = annotations.link, annotations.of
    ours: type | None = None
    for victim in victims:
        span, root, due, _ = victim
        kind = type(span)
        if kind is not ours and _is_ours(kind):
            ours = kind
        if kind is not ours or span._end_time is not None:
            left.append(victim)
            continue
        kept = span._events
        events = kept._dq
        if len(events) >= most and sum(event._name == DELAYED for event in list(events)) >= most:
            suppressed += 1
            continue
        late, unix_ns = of(due, span._start_time)
        limits = span._limits
        event = late.event
        if event is None or event._timestamp != unix_ns or event._limits is not limits:
            event = late.event = LateEvent(DELAYED, late, unix_ns, limits)
        if len(events) == events.maxlen:
            kept.append(event)
        else:
            events.append(event)
        if link is not None:
            target = span if root is span or not root.is_recording() else root
            if type(target) is kind:
                _append(target._links, link)
            else:
                target.add_link(link.context)
    return left, suppressed


def _is_ours(kind: type) -> bool:
    return getattr(kind, "add_event", None) is _add_event and getattr(kind, "add_link", None) is _add_link


def store(span: Any, name: str, attributes: LateAttributes, unix_ns: int) -> bool:
    """Store a late event on a span.

    Returns:
        Whether it is a span that can: one of the SDK, whose ``add_event`` nobody has overridden.
    """
    if getattr(type(span), "add_event", None) is not _add_event or span._end_time is not None:
        return False
    limits = span._limits
    event = attributes.event
    if event is None or event._timestamp != unix_ns or event._limits is not limits:
        event = attributes.event = LateEvent(name, attributes, unix_ns, limits)
    _append(span._events, event)
    return True


def store_link(span: Any, link: Link) -> bool:
    """Store a link on a span: one that other spans may have as well.

    Returns:
        Likewise.
    """
    if getattr(type(span), "add_link", None) is not _add_link or span._end_time is not None:
        return False
    _append(span._links, link)
    return True


def _append(kept: Any, item: Any) -> None:
    # Its own append takes a lock, around what is but one step, to count what is dropped.
    items = kept._dq
    if len(items) == items.maxlen:
        kept.append(item)
    else:
        items.append(item)
