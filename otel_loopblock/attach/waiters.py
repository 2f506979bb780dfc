"""Names those who had to wait for a block: requests where OpenTelemetry has spans for them, else tasks."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import Context
from itertools import islice
from typing import Any, Final

from otel_loopblock.delayed.queue import Waiting
from otel_loopblock.naming import printable

MAX_LOOKS: Final = 250
"""Of those who waited that are looked at, per block: it happens on the loop's thread."""

MAX_NAMES: Final = 20

OTHER: Final = "timer or callback"
"""Who has no name, and those beyond so many."""

Request = Callable[[Context | None], "tuple[object, str] | None"]
"""Which request a context is of, and its name."""


def requests() -> Request | None:
    """What tells the request of a context; ``None`` where this process has no OpenTelemetry to ask."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from otel_loopblock.emit import context as emit_context  # here: its library may not be there

    def request(context: Context | None) -> tuple[object, str] | None:
        span = emit_context.current_span(None) if context is None else emit_context.span_read_from(context)
        if not emit_context.is_valid(span):
            return None
        route, name = emit_context.route_and_name(span)
        return span.get_span_context().trace_id, name or route or OTHER

    return request


class Waiters:
    """Who waited for one block; on the loop's thread.

    Args:
        request: tells the request of a context.
        culprit: the task that blocked, which does not wait for itself.
        context: the one that it ran in; ``None`` for the current one.
        done: is called with the names and how many of each, the commonest first, those without one last.
    """

    def __init__(
        self,
        request: Request | None,
        culprit: asyncio.Task[Any] | None,
        context: Context | None,
        done: Callable[[list[tuple[str, int]]], None],
    ) -> None:
        self._request = request
        self._seen: set[object] = {culprit} if culprit is not None else set()
        own = request(context) if request is not None else None
        if own is not None:
            self._seen.add(own[0])
        self._names: Counter[str] = Counter()
        self._looks = 0
        self._done = done

    def waited(self, waiting: Iterator[Waiting]) -> None:
        """Note more that had to wait."""
        for context, task, _ in islice(waiting, MAX_LOOKS - self._looks):
            self._looks += 1
            request = self._request(context) if self._request is not None else None
            if request is not None:
                key, name = request
            elif task is not None:
                key, name = task, _name(task)
            else:
                key, name = id(context), OTHER  # it has no hash
            if key not in self._seen:
                self._seen.add(key)
                self._names[name if len(self._names) < MAX_NAMES or name in self._names else OTHER] += 1

    def span_started(self, span: Any, task: asyncio.Task[Any] | None) -> None:
        """Nothing: its task is known."""

    def ended(self) -> None:
        """Tell who it was."""
        self._seen = set()
        found = sorted(self._names.most_common(), key=lambda each: each[0] is OTHER)
        self._done([(printable(name), count) for name, count in found])


def _name(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    name = getattr(coroutine, "__qualname__", None)
    return name if isinstance(name, str) else OTHER
