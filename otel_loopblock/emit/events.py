"""Adds events and links to spans: stored as objects in a span of the SDK, by the public way in any other.

``Span.add_event`` checks and copies the attributes at once, after they were worked out at once; the loop
would stand still for both. A span of the SDK can store an event object as well.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import Link

from otel_loopblock.emit.annotations import Annotations
from otel_loopblock.emit.late import LateAttributes
from otel_loopblock.emit.victims import Victim

try:
    from otel_loopblock.emit.sdk_event import store as _store
    from otel_loopblock.emit.sdk_event import store_link as _store_link
    from otel_loopblock.emit.sdk_event import store_many as _store_many
except Exception:  # no SDK, or one of another shape

    def _store(span: Any, name: str, attributes: LateAttributes, unix_ns: int) -> bool:
        return False

    def _store_link(span: Any, link: Link) -> bool:
        return False

    def _store_many(victims: list[Victim], annotations: Annotations, most: int) -> tuple[list[Victim], int]:
        return victims, 0


def add_event(span: Any, name: str, attributes: LateAttributes, unix_ns: int) -> None:
    """Add an event to a recording span.

    Args:
        span: any; where it is not one of the SDK, the attributes are worked out now.
        name: of the event.
        attributes: its attributes.
        unix_ns: its time.
    """
    if not _store(span, name, attributes, unix_ns):
        span.add_event(name, dict(attributes.read()), unix_ns)


def add_to_many(victims: list[Victim], annotations: Annotations, most: int) -> tuple[list[Victim], int]:
    """Give requests that waited their events and links.

    Args:
        victims: the requests.
        annotations: what is said of them.
        most: how many of these events a span may carry.

    Returns:
        Those whose spans are not of the SDK, for :func:`add_event` and :func:`add_link`; and how many carry
        enough already.
    """
    return _store_many(victims, annotations, most)


def add_link(span: Any, link: Link) -> None:
    """Add a link to a recording span.

    Args:
        span: any.
        link: one that other spans may have as well.
    """
    if not _store_link(span, link):
        span.add_link(link.context)
