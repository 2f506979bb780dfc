"""What is to be done on a span just before it ends: noted on the span, done by the hook of ``Span.end``.

What a span needs for its events is at hand when it ends, and cold before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otel_loopblock import guard

PENDING = "_loopblock_pending"
"""Where a span keeps it; on an ``end`` that sees to it, a mark."""

Work = Callable[[Any, Any], None]
"""Is called with the span, which still records, and an argument."""


def pending_of(span: Any) -> list[tuple[Work, Any]]:
    """The list that work for a span is added to: each function with its argument, in order."""
    pending: list[tuple[Work, Any]] | None = getattr(span, PENDING, None)
    if pending is None:
        pending = []
        setattr(span, PENDING, pending)
    return pending


def is_hooked(span: Any) -> bool:
    """Whether what is pending will be done."""
    return hasattr(type(span).end, PENDING)


def do(span: Any, pending: list[tuple[Work, Any]]) -> None:
    """Do it, once. Never raises."""
    work = pending[:]
    pending.clear()  # a span may be ended twice
    for function, argument in work:
        try:
            function(span, argument)
        except Exception:
            guard.failed("finish a span")
