"""What waits in a loop of asyncio: its ``_ready`` queue, a name of the library's own.

Loops that derive from ``BaseEventLoop`` have it; where it is missing there is no queue. Timers come into it
when their time has come.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from contextvars import Context
from time import perf_counter
from typing import Any

from otel_loopblock.aftermath import Queued, Timer
from otel_loopblock.monitor import task_of


def of(loop: asyncio.BaseEventLoop) -> AsyncioQueue | None:
    """The queue of ``loop``; ``None`` when it has none of the known shape."""
    return AsyncioQueue(loop) if isinstance(getattr(loop, "_ready", None), deque) else None


class AsyncioQueue:
    """See :class:`otel_loopblock.aftermath.Queue`."""

    # It looks, then calls those who asked for what arrived; their tasks are woken in the next turn.
    turns_after_receiving = 1

    __slots__ = ("_loop", "_offset")

    def __init__(self, loop: Any) -> None:
        self._loop = weakref.ref(loop)
        self._offset = perf_counter() - loop.time()

    def ready(self) -> list[Any]:
        """The ready queue."""
        loop: Any = self._loop()
        return list(loop._ready) if loop is not None else []

    def last(self) -> Any:
        """What was put there last."""
        loop: Any = self._loop()
        return loop._ready[-1] if loop is not None and loop._ready else None

    def behind(self, last: Any, most: int) -> list[Any]:
        """What was put there since."""
        loop: Any = self._loop()
        return behind(loop._ready, last, most) if loop is not None else []

    def timers(self, until: float) -> list[Timer]:
        """None: when its time has come, each is put into the queue, behind what is there."""
        return []

    def task(self, found: Any) -> Any:
        """The task whose step a ``Handle`` is."""
        return task_of(found._callback)

    def read(self, found: Any) -> Queued:
        """What a ``Handle`` or ``TimerHandle`` is."""
        callback, arguments = found._callback, found._args or ()
        context: Context = found._context
        if isinstance(found, asyncio.TimerHandle):
            return Queued(context, callback, arguments, found.when() + self._offset, 0, -1)
        return Queued(context, callback, arguments, None, *_opening(callback, arguments))


def behind(ready: deque[Any], last: Any, most: int) -> list[Any]:
    """What stands in a queue behind ``last``, or all of it; of more than ``most`` the last ones."""
    found: list[Any] = []
    # By index: another thread may add to it meanwhile.
    for place in range(1, min(most, len(ready)) + 1):
        if ready[-place] is last:
            break
        found.append(ready[-place])
    return found[::-1]


def _opening(callback: Any, arguments: tuple[Any, ...]) -> tuple[int, int]:
    """``turns_to_read`` and ``connection``."""
    # A connection is accepted; a task makes its transport; that adds its reader; it reads what came, and the
    # protocol makes a task of it: a turn each.
    name = getattr(callback, "__name__", "")
    if name == "_accept_connection":
        return 4, -1
    if name == "_add_reader" and getattr(callback.__self__, "_server", None) is not None:
        return 2, arguments[0]
    task = task_of(callback)
    coroutine: Any = task.get_coro() if task is not None else None
    if getattr(coroutine, "__name__", "") != "_accept_connection2":
        return 0, -1
    frame = coroutine.cr_frame
    accepted = frame.f_locals.get("conn") if frame is not None else None
    return 3, accepted.fileno() if accepted is not None else -1
