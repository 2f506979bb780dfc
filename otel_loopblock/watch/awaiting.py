"""Who awaits a task, across tasks, as asyncio knows from Python 3.14 on. Read once per block.

The tasks that await the running one are suspended while it runs. So on the loop's thread, and only there,
their frames stand still. ``asyncio.capture_call_graph`` reads the same, but without a bound: a task that
thousands await would take it longer than the block.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

from otel_loopblock import guard
from otel_loopblock.watch.evidence import RawFrame

MAX_AWAITERS = 10
MAX_SEEN = 64
"""Tasks and futures looked at."""
MAX_FRAMES = 16
"""Of one task, the innermost."""
MAX_DEPTH = 200
"""Coroutines of one task, each awaiting the next."""

_KNOWS = sys.version_info >= (3, 14)


class Awaiter(NamedTuple):
    """A task that waits for another one's end."""

    task_name: str
    coroutine: str
    """Qualified name of its own coroutine."""
    frames: tuple[RawFrame, ...]
    """Where it waits, innermost first."""


def awaiters(task: asyncio.Task[Any] | None) -> tuple[Awaiter, ...]:
    """The tasks that await a task, the nearest first; call it on the thread of its loop.

    Returns:
        Nothing before Python 3.14, or where no task awaits it.
    """
    if not _KNOWS or task is None:
        return ()
    found: tuple[Awaiter, ...] = guard.call("see who awaits a task", _awaiters, task, otherwise=())
    return found


def _awaiters(task: asyncio.Task[Any]) -> tuple[Awaiter, ...]:
    found: list[Awaiter] = []
    seen = {id(task)}
    waiting: deque[Any] = deque([task])
    while waiting:
        # A frozenset, made for each who asks; asyncio's own tools read this attribute.
        for parent in getattr(waiting.popleft(), "_asyncio_awaited_by", None) or ():
            if id(parent) in seen:
                continue
            if len(seen) >= MAX_SEEN or len(found) >= MAX_AWAITERS:
                return tuple(found)
            seen.add(id(parent))
            waiting.append(parent)
            if isinstance(parent, asyncio.Task):
                found.append(_awaiter(parent))
    return tuple(found)


def _awaiter(task: asyncio.Task[Any]) -> Awaiter:
    coroutine = task.get_coro()
    frames = deque(_frames(coroutine), MAX_FRAMES)
    name = getattr(coroutine, "__qualname__", None)
    return Awaiter(
        str(task.get_name()),
        name if isinstance(name, str) else type(coroutine).__name__,
        tuple(
            (frame.f_code, frame.f_lasti, frame.f_lineno or 0, str(frame.f_globals.get("__name__", "")))
            for frame in reversed(frames)
        ),
    )


def _frames(coroutine: Any) -> Iterator[FrameType]:
    """The frames of a suspended coroutine and of what it awaits, outermost first."""
    for _ in range(MAX_DEPTH):
        kind = "cr" if hasattr(coroutine, "cr_frame") else "ag" if hasattr(coroutine, "ag_frame") else "gi"
        frame = getattr(coroutine, f"{kind}_frame", None)
        if not isinstance(frame, FrameType):
            return
        yield frame
        if getattr(coroutine, f"{kind}_running", False):  # what it awaits must not be asked then
            return
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
