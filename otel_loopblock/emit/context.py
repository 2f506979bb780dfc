"""Finds the span that a callback ran under, from the loop's thread or, while it hangs, from another."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from contextvars import ContextVar
from typing import Any

import opentelemetry.context
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


_KEY = getattr(trace.propagation, "_SPAN_KEY", None)
"""The key of the current span, a private name of the API."""


def span_in(carried: Context) -> Any:
    """The span that is current in one of OpenTelemetry's contexts, or an invalid one.

    The same as the API's own function, which is called for each request that waited, without its detours.
    """
    if _KEY is None:
        return trace.get_current_span(carried)
    span = carried.get(_KEY)
    return span if isinstance(span, Span) else trace.INVALID_SPAN


def current_span(context: contextvars.Context | None) -> Span:
    """The span that is current in ``context``; in the running one for ``None``. On the loop's thread."""
    if context is None:
        return trace.get_current_span()
    try:
        return context.run(trace.get_current_span)
    except RuntimeError as error:  # the context is entered already, further out
        guard.let_through(error)
        return span_read_from(context)


def variable() -> ContextVar[Context] | None:
    """What OpenTelemetry's context is kept in.

    A context that another thread may be running in cannot be entered, but its variables can be read. This one
    is a private name of the API's default runtime context: ``None`` where there is another one.
    """
    runtime = getattr(opentelemetry.context, "_RUNTIME_CONTEXT", None)
    found = getattr(runtime, "_current_context", None)
    return found if isinstance(found, ContextVar) else None


def span_read_from(context: contextvars.Context | None) -> Span:
    """The span that is current in a context that another thread may be running in; read, not entered."""
    carrier = variable()
    found = context.get(carrier) if context is not None and carrier is not None else None
    return trace.get_current_span(found) if found is not None else trace.INVALID_SPAN


def context_of(task: asyncio.Task[Any]) -> contextvars.Context | None:
    """The context that a task runs in, looked for from another thread."""
    # Task.get_context() is there from 3.12 on; what a C task refers to can be asked on all.
    for referent in gc.get_referents(task):
        if isinstance(referent, contextvars.Context):
            return referent
    return None


def is_valid(span: Span) -> bool:
    """Whether ``span`` belongs to a trace."""
    return span.get_span_context().is_valid


def start_unix_ns(span: Any) -> int | None:
    """When a span of the SDK started."""
    started = getattr(span, "start_time", None)
    return started if isinstance(started, int) else None


def parent_for(span: Span, began_unix_ns: int) -> Context | None:
    """The context for a span of our own over a stretch during which ``span`` was current at the end.

    A span that started after the stretch began was not the active one then: its parent was.
    """
    if not is_valid(span):
        return None
    started = start_unix_ns(span)
    parent: SpanContext | None = getattr(span, "parent", None)
    if started is not None and started > began_unix_ns:
        return trace.set_span_in_context(NonRecordingSpan(parent), Context()) if parent is not None else None
    return trace.set_span_in_context(span, Context())


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
