"""What waits in a loop of uvloop: its queue and its timers are C, but the garbage collector can name them.

No name is relied on: the queue is the deque in which a handle is found that was scheduled a moment before,
the timers are the set that holds a fresh timer. Where these are not found there is no queue.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextvars import Context
from typing import Any, NamedTuple, TypeAlias

from otel_loopblock.clocks import monotonic, perf_counter
from otel_loopblock.core import unwrap
from otel_loopblock.delayed.queue import MAX_TIMERS, SLEEPS, Opening, Queued, Timer, Upcoming
from otel_loopblock.delayed.tcp import descriptor

TURNS_TO_READ = 1
"""A new connection's handle is in the queue; what came on it is read right after, in the same turn."""


Parts: TypeAlias = "tuple[Any, Any, Any]"
"""Context, callback and arguments of a handle; for a method of a transport that one is the callback."""


class _Shape(NamedTuple):
    """Where, among what a handle refers to, its context, callback and arguments stand."""

    size: int
    context: int
    callback: int
    arguments: int

    def read(self, handles: Sequence[Any]) -> Iterable[Parts]:
        """The parts of each; of one that was cancelled, or has another shape, the callback is ``None``."""
        size, context, callback, arguments = self
        held = gc.get_referents(*handles)  # one call for all: what a handle refers to is cold memory already
        if len(held) == size * len(handles):
            return zip(held[context::size], held[callback::size], held[arguments::size], strict=True)
        return [part for handle in handles for part in self._read_one(handle)]

    def _read_one(self, handle: Any) -> Iterable[Parts]:
        return self.read((handle,)) if len(gc.get_referents(handle)) == self.size else [(None, None, None)]


def of(loop: Any) -> UvloopQueue | None:
    """The queue of ``loop``; ``None`` when it cannot be found. On the loop's thread."""
    context, mark = Context(), object()
    handle = loop.call_soon(_nothing, mark, context=context)
    timer = handle
    try:
        timer = loop.call_later(3600, _nothing, mark, context=context)
        held = gc.get_referents(loop)
        ready = next((item for item in held if isinstance(item, deque) and handle in item), None)
        timers = next((item for item in held if isinstance(item, set) and timer in item), None)
        of_handle, of_timer = _shape(handle, context, mark), _shape(timer, context, mark)
        if ready is None or timers is None or of_handle is None or of_timer is None:
            return None
        known = hasattr(timer, "when") and hasattr(timer, "cancelled")
        return UvloopQueue(ready, timers, of_handle, of_timer) if known else None
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


def _nothing(mark: object) -> None:
    """Never called."""


class UvloopQueue:
    """See :class:`otel_loopblock.delayed.queue.Queue`."""

    # It looks and calls at once; the tasks that are woken are next in its queue.
    turns_after_receiving = 0

    __slots__ = ("_handle", "_offset", "_timer", "_timers", "ready")

    def __init__(self, ready: deque[Any], timers: set[Any], handle: _Shape, timer: _Shape) -> None:
        self.ready = ready
        self._timers = timers
        self._handle = handle
        self._timer = timer
        # Not loop.time(): that is a cached time, as of before the block.
        self._offset = perf_counter() - monotonic()

    def read(self, handles: Sequence[Any]) -> list[Queued]:
        """What ``Handle`` objects are."""
        found: list[Queued] = []
        for context, callback, arguments in self._handle.read(handles):
            if not callable(callback):
                if hasattr(callback, "get_extra_info"):
                    found.append((context, None, (callback,), None))
            else:
                found.append((context, unwrap(callback), arguments or (), None))
        return found

    def opening(self, callback: Any, arguments: tuple[Any, ...]) -> Opening | None:
        """What this callback has to do with a new connection."""
        if callback is not None:
            return None
        (transport,) = arguments  # one of its methods: its connection is made, or lost
        return Opening(TURNS_TO_READ, descriptor(transport)) if not transport.is_closing() else None

    def upcoming(self, until: float) -> list[Upcoming]:
        """The timers due until then; their times are whole milliseconds."""
        if len(self._timers) > MAX_TIMERS:
            return []
        offset = self._offset
        limit = until - offset
        due = [timer for timer in list(self._timers) if timer.when() <= limit]
        found: list[Upcoming] = []
        for timer, (context, callback, arguments) in zip(due, self._timer.read(due), strict=True):
            if callback is None:  # it was cancelled
                continue
            future = arguments[0] if unwrap(callback) is SLEEPS and arguments else None
            found.append((timer, context, timer.when() + offset, future))
        return found

    def timers(self, until: float, among: list[Upcoming] | None = None) -> Iterator[Timer]:
        """What these are: libuv calls them straight away."""
        for timer in self.upcoming(until) if among is None else among:
            if timer[2] <= until and not timer[0].cancelled():
                yield timer[1:]
