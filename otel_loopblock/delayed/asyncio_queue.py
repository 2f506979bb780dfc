"""What waits in a loop of asyncio: its ``_ready`` queue, a name of the library's own.

Loops that derive from ``BaseEventLoop`` have it; where it is missing there is no queue. Timers come into it
when their time has come.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

from otel_loopblock.clocks import monotonic, perf_counter
from otel_loopblock.delayed.queue import MAX_TIMERS, Opening, Queued, Timer, Upcoming
from otel_loopblock.frames import local
from otel_loopblock.watch.facts import keeps_real_time
from otel_loopblock.watch.target import task_of


def of(loop: asyncio.BaseEventLoop) -> AsyncioQueue | None:
    """The queue of ``loop``; ``None`` when it has none of the known shape, or a clock of its own."""
    ready = getattr(loop, "_ready", None)
    return AsyncioQueue(loop, ready) if isinstance(ready, deque) and keeps_real_time(loop) else None


class AsyncioQueue:
    """See :class:`otel_loopblock.delayed.queue.Queue`."""

    # It looks, then calls those who asked for what arrived; their tasks are woken in the next turn.
    turns_after_receiving = 1

    __slots__ = ("_loop", "_offset", "ready")

    def __init__(self, loop: asyncio.BaseEventLoop, ready: deque[Any]) -> None:
        self.ready = ready
        self._offset = perf_counter() - monotonic()
        self._loop = weakref.ref(loop)  # it keeps its monitor, which keeps this

    def read(self, handles: Sequence[Any]) -> list[Queued]:
        """What ``Handle`` and ``TimerHandle`` objects are."""
        timer: Any = asyncio.TimerHandle
        offset = self._offset
        return [
            (
                handle._context,
                callback,
                handle._args or (),
                handle._when + offset if isinstance(handle, timer) else None,
            )
            for handle in handles
            if (callback := handle._callback) is not None
        ]

    def opening(self, callback: Any, arguments: tuple[Any, ...]) -> Opening | None:
        """What this callback has to do with a new connection."""
        # A connection is accepted; a task makes its transport; that adds its reader; it reads what came, and
        # the protocol makes a task of it: a turn each.
        task = task_of(callback)
        if task is None:
            name = getattr(callback, "__name__", "")
            if name == "_accept_connection":
                return Opening(4, -1)
            if name == "_add_reader" and getattr(callback.__self__, "_server", None) is not None:
                return Opening(2, arguments[0])
            return None
        coroutine: Any = task.get_coro()
        if getattr(coroutine, "__name__", "") != "_accept_connection2":
            return None
        frame = coroutine.cr_frame
        accepted = local(frame, "conn") if frame is not None else None
        return Opening(3, accepted.fileno() if accepted is not None else -1)

    def upcoming(self, until: float) -> list[Upcoming]:
        """The timers due until then: the list that the loop keeps as a heap is not in their order."""
        timers = getattr(self._loop(), "_scheduled", None)
        if not isinstance(timers, list) or len(timers) > MAX_TIMERS:
            return []
        offset = self._offset
        limit = until - offset
        return [
            (timer, timer._context, timer._when + offset, None)
            for timer in list(timers)  # the loop's thread may change it meanwhile
            if timer._when <= limit and not timer._cancelled
        ]

    def timers(self, until: float, among: list[Upcoming] | None = None) -> list[Timer]:
        """None: when its time has come, each is put into the queue, behind what is there."""
        return []
