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
from typing import Any, NamedTuple

from otel_loopblock.aftermath import SLEEPS, Queued, Timer
from otel_loopblock.arrival import descriptor
from otel_loopblock.hooks.asyncio_queue import behind

MAX_TIMERS = 5000
"""Each timer is looked at, and connections that idle have one; with more of them than this no timer is."""


TURNS_TO_READ = 1
"""A new connection's handle is in the queue; what came on it is read right after, in the same turn."""


class _Shape(NamedTuple):
    """Where, among what a handle refers to, its context, callback and arguments stand."""

    size: int
    context: int
    callback: int
    arguments: int


def of(loop: Any) -> UvloopQueue | None:
    """The queue of ``loop``; ``None`` when it cannot be found. On the loop's thread."""
    context, mark = Context(), object()
    handle = loop.call_soon(_nothing, mark, context=context)
    timer = loop.call_later(3600, _nothing, mark, context=context)
    try:
        held = gc.get_referents(loop)
        ready = next((item for item in held if isinstance(item, deque) and handle in item), None)
        timers = next((item for item in held if isinstance(item, set) and timer in item), None)
        of_handle, of_timer = _shape(handle, context, mark), _shape(timer, context, mark)
        if ready is None or timers is None or of_handle is None or of_timer is None:
            return None
        return UvloopQueue(ready, timers, of_handle, of_timer) if hasattr(timer, "when") else None
    finally:
        handle.cancel()
        timer.cancel()


def _shape(handle: Any, context: Context, mark: object) -> _Shape | None:
    held = gc.get_referents(handle)
    found = [
        [place for place, item in enumerate(held) if is_it(item)]
        for is_it in (
            lambda item: item is context,
            callable,
            lambda item: isinstance(item, tuple) and mark in item,
        )
    ]
    return _Shape(len(held), *(places[0] for places in found)) if all(found) else None


def _nothing() -> None:
    """Never called."""


class UvloopQueue:
    """See :class:`otel_loopblock.aftermath.Queue`."""

    # It looks and calls at once; the tasks that are woken are next in its queue.
    turns_after_receiving = 0

    __slots__ = ("_handle", "_offset", "_ready", "_timer", "_timers")

    def __init__(self, ready: deque[Any], timers: set[Any], handle: _Shape, timer: _Shape) -> None:
        self._ready = ready
        self._timers = timers
        self._handle = handle
        self._timer = timer
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
        offset = self._offset
        limit = until - offset
        due = [(when, timer) for timer in list(self._timers) if (when := timer.when()) <= limit]
        found: list[Timer] = []
        size, in_context, in_callback, in_arguments = self._timer
        for when, timer in due:
            held = gc.get_referents(timer)
            if len(held) != size or timer.cancelled():
                continue
            callback, arguments = held[in_callback], held[in_arguments] or ()
            if callback is not SLEEPS:  # ours is called with the callback as its first argument
                callback, arguments = (arguments[0], arguments[1:]) if arguments else (None, ())
            future = arguments[0] if callback is SLEEPS and arguments else None
            found.append(Timer(when + offset, held[in_context], future))
        return found

    def task(self, found: Any) -> Any:
        """``None``: it takes as long as all that can be read."""
        return None

    def read(self, found: Any) -> Queued:
        """What a ``Handle`` is."""
        size, in_context, in_callback, in_arguments = self._handle
        held = gc.get_referents(found)
        callback = held[in_callback] if len(held) == size else None
        if callable(callback):
            arguments = held[in_arguments] or ()
            if arguments and callable(arguments[0]):  # ours is called with the callback as its first argument
                callback, arguments = arguments[0], arguments[1:]
            return Queued(held[in_context], callback, arguments, None, 0, -1)
        for item in held:
            if hasattr(item, "get_extra_info"):  # a method of a transport: its connection is made, or lost
                if item.is_closing():
                    break
                return Queued(Context(), None, (), None, TURNS_TO_READ, descriptor(item))
        return Queued(Context(), None, (), None, 0, -1)
