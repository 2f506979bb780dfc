"""The SDK's ``Event`` with attributes that come later, made with names of the SDK's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, Span, SpanLimits

if TYPE_CHECKING:
    from otel_loopblock.emit.late import LateAttributes

_add_event = Span.add_event
# Asked for here, so that another SDK is found out before there is an event.
_ = Span._add_event, SpanLimits().max_event_attributes, SpanLimits().max_attribute_length


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


def store(span: Any, name: str, attributes: LateAttributes, unix_ns: int) -> bool:
    """Store a late event on a span.

    Returns:
        Whether it is a span that can: one of the SDK, whose ``add_event`` nobody has overridden.
    """
    if getattr(type(span), "add_event", None) is not _add_event:
        return False
    limits = getattr(span, "_limits", None)
    if limits is None:
        return False
    span._add_event(LateEvent(name, attributes, unix_ns, limits))
    return True
