"""Marks spans with attributes that a search finds: that they blocked the loop, or were made to wait.

The span itself and its local root, the request's, are marked: of a trace a list shows no more than that.
"""

from __future__ import annotations

from typing import Any

from otel_loopblock.emit import attributes
from otel_loopblock.emit.context import local_root


def mark_blocked(span: Any, duration_s: float) -> None:
    """Note on a span and its local root, those that record, that a block of theirs lasted so many seconds."""
    for each in _recording(span, local_root(span)):
        has = getattr(each, "attributes", None) or {}
        blocked_s = has.get(attributes.BLOCKED_TIME, 0.0) + duration_s
        each.set_attributes(
            {
                attributes.BLOCKED: True,
                attributes.BLOCK_COUNT: has.get(attributes.BLOCK_COUNT, 0) + 1,
                attributes.BLOCKED_TIME: attributes.seconds(blocked_s),
            }
        )


def mark_delayed(span: Any, root: Any, delay_s: float) -> None:
    """Likewise that they were made to wait for so many seconds at most; ``root`` is the local root."""
    for each in _recording(span, root):
        has = getattr(each, "attributes", None) or {}
        each.set_attributes(
            {
                attributes.DELAYED: True,
                attributes.DELAYED_TIME: attributes.seconds(has.get(attributes.DELAYED_TIME, 0.0) + delay_s),
            }
        )


def _recording(span: Any, root: Any) -> list[Any]:
    return [each for each in ((span,) if span is root else (span, root)) if each.is_recording()]
