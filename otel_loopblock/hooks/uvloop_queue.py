"""What waits in a loop of uvloop: its queue and its timers are C, but the garbage collector can name them.

No name is relied on: the queue is the deque in which a handle is found that was scheduled a moment before,
the timers are the set that holds a fresh timer. Where these are not found there is no queue.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from contextvars import Context
from time import perf_counter
from typing import Any

from otel_loopblock.aftermath import SLEEPS, Queued, Timer
from otel_loopblock.arrival import descriptor
from otel_loopblock.hooks.asyncio_queue import behind

MAX_TIMERS = 5000
"""Each timer is looked at, and connections that idle have one; with more of them than this no timer is."""


TURNS_TO_READ = 1
"""A new connection's handle is in the queue; what came on it is read right after, in the same turn."""


def of(loop: Any) -> UvloopQueue | None:
    """The queue of ``loop``; ``None`` when it cannot be found. On the loop's thread."""
    handle = loop.call_soon(_nothing, context=Context())
    timer = loop.call_later(3600, _nothing, context=Context())
    try:
        held = gc.get_referents(loop)
        ready = next((item for item in held if isinstance(item, deque) and handle in item), None)
        timers = next((item for item in held if isinstance(item, set) and timer in item), None)
        if ready is None or timers is None or not hasattr(timer, "when"):
            return None
        return UvloopQueue(ready, timers)
    finally:
        handle.cancel()
        timer.cancel()


def _nothing() -> None:
    """Never called."""


class UvloopQueue:
    """See :class:`otel_loopblock.aftermath.Queue`."""

    # It looks and calls at once; the tasks that are woken are next in its queue.
    turns_after_receiving = 0

    __slots__ = ("_offset", "_ready", "_timers")

    def __init__(self, ready: deque[Any], timers: set[Any]) -> None:
        self._ready = ready
        self._timers = timers
        # Not loop.time(): that is a cached time, as of before the block.
        self._offset = perf_counter() - time.monotonic()

    def ready(self) -> list[Any]:
        """The ready queue."""
        return list(self._ready)

    def last(self) -> Any:
        """What was put there last."""
        return self._ready[-1] if self._ready else None

    def behind(self, last: Any, most: int) -> list[Any]:
        """What was put there since."""
        return behind(self._ready, last, most)

    def timers(self, until: float) -> list[Timer]:
        """The timers due until then; their times are whole milliseconds."""
        if len(self._timers) > MAX_TIMERS:
            return []
        limit = until - self._offset
        return [
            self._timer(when, timer)
            for timer in list(self._timers)
            if (when := timer.when()) <= limit and not timer.cancelled()
        ]

    def _timer(self, when: float, timer: Any) -> Timer:
        context: Context | None = None
        callback: Any = None
        arguments: tuple[Any, ...] = ()
        for item in gc.get_referents(timer):
            kind = type(item)
            if kind is Context:
                context = item
            elif kind is tuple:
                arguments = arguments or item
            elif item is SLEEPS:
                callback = item
        if callback is None and arguments:  # ours is called with the callback as its first argument
            callback, arguments = arguments[0], arguments[1:]
        future = arguments[0] if callback is SLEEPS and arguments else None
        return Timer(when + self._offset, context if context is not None else Context(), future)

    def task(self, found: Any) -> Any:
        """``None``: it takes as long as all that can be read."""
        return None

    def read(self, found: Any) -> Queued:
        """What a ``Handle`` or ``TimerHandle`` is."""
        context = Context()
        callback: Any = None
        arguments: tuple[Any, ...] = ()
        for item in gc.get_referents(found):
            kind = type(item)
            if kind is Context:
                context = item
            elif kind is tuple:
                arguments = arguments or item
            elif callback is None and callable(item):
                callback = item
            elif hasattr(item, "get_extra_info"):  # a method of a transport: its connection is made, or lost
                if item.is_closing():
                    return Queued(Context(), None, (), None, 0, -1)
                return Queued(Context(), None, (), None, TURNS_TO_READ, descriptor(item))
        if arguments and callable(arguments[0]):  # ours is called with the callback as its first argument
            callback, arguments = arguments[0], arguments[1:]
        due = found.when() + self._offset if hasattr(found, "when") else None
        return Queued(context, callback, arguments, due, 0, -1)
