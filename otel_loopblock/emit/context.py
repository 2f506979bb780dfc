"""Finds the span that a callback ran under, from the loop's thread or, while it hangs, from another."""

from __future__ import annotations

import contextvars
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

from opentelemetry import context as api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext

from otel_loopblock import guard
from otel_loopblock.naming import printable

ROOT = "_loopblock_root"
"""Where a span keeps its local root (see emit/span_hooks.py); a local root keeps nothing."""


def local_root(span: Any) -> Any:
    """The outermost span of this process that ``span`` belongs to; itself if there is none above."""
    return getattr(span, ROOT, span)


def current_span(context: contextvars.Context | None) -> Span:
    """The span that is current in ``context``; in the running one for ``None``. On the loop's thread."""
    if context is None:
        return trace.get_current_span()
    try:
        return context.run(trace.get_current_span)
    except RuntimeError as error:  # the context is entered already, further out
        guard.let_through(error)
        return span_read_from(context)


@cache
def variable() -> ContextVar[Context] | None:
    """What OpenTelemetry's context is kept in; ``None`` where that is no variable.

    A context that another thread may be running in cannot be entered, but its variables can be read.
    """
    return contextvars.Context().run(_the_one_attached_to)


def _the_one_attached_to() -> ContextVar[Context] | None:
    # The API does not say which one it is: the one that holds what was attached.
    attached = Context()
    api.attach(attached)
    return next((found for found, value in contextvars.copy_context().items() if value is attached), None)


def span_read_from(context: contextvars.Context | None) -> Span:
    """The span that is current in a context that another thread may be running in; read, not entered."""
    carrier = variable()
    found = context.get(carrier) if context is not None and carrier is not None else None
    return trace.get_current_span(found) if found is not None else trace.INVALID_SPAN


def is_valid(span: Span) -> bool:
    """Whether ``span`` belongs to a trace."""
    return span.get_span_context().is_valid


def start_unix_ns(span: Any) -> int | None:
    """When a span of the SDK started."""
    started = getattr(span, "start_time", None)
    return started if isinstance(started, int) else None


class Place(NamedTuple):
    """Where a span of our own belongs."""

    above: Span
    """Its parent; an invalid one for none."""
    started_unix_ns: int
    ended_unix_ns: int
    """Both within the parent's, as far as these are known: else tools doubt the clock and move the span."""


def place_under(span: Span, began_unix_ns: int, ended_unix_ns: int, at_least_ns: float) -> Place:
    """The place of a span of our own over a stretch of time.

    Args:
        span: the one that the stretch is charged to, or that was current; an invalid one where none was.
        began_unix_ns: when the stretch began.
        ended_unix_ns: when it ended.
        at_least_ns: how much of the stretch a parent must cover. Of a span that covers less because it began
            late, the parent was the active one; one that had ended by then has none of it.
    """
    started, ended = start_unix_ns(span), getattr(span, "end_time", None)
    began_within_ns = began_unix_ns if started is None else max(began_unix_ns, started)
    ended_within_ns = min(ended_unix_ns, ended) if isinstance(ended, int) else ended_unix_ns
    if is_valid(span) and ended_within_ns - began_within_ns >= at_least_ns:
        return Place(span, began_within_ns, ended_within_ns)
    parent: SpanContext | None = getattr(span, "parent", None)
    if parent is not None and began_within_ns > began_unix_ns:
        return Place(NonRecordingSpan(parent), began_unix_ns, ended_unix_ns)
    return Place(trace.INVALID_SPAN, began_unix_ns, ended_unix_ns)


def route_and_name(span: Span) -> tuple[str | None, str | None]:
    """``http.route`` and the name of the request that ``span`` belongs to, where they are known."""
    root: Any = local_root(span)
    if not is_valid(root):
        return None, None
    attributes = getattr(root, "attributes", None) or {}
    route = attributes.get("http.route")
    name = getattr(root, "name", None)
    return (
        printable(route) if isinstance(route, str) else None,
        printable(name) if isinstance(name, str) else None,
    )
