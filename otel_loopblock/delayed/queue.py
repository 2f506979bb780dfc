"""What waits in a loop, whatever kind of loop it is, and who wants to know of it."""

from __future__ import annotations

import asyncio
from asyncio import futures
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextvars import Context
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

SHORTEST_S: Final = 0.001
"""Shorter waits are left out: a timer of uvloop is no more precise."""

MAX_TIMERS: Final = 5000
"""Each timer is looked at, and connections that idle have one; with more of them than this no timer is."""

SLEEPS: Final = getattr(futures, "_set_result_unless_cancelled", None)
"""What the timer of ``asyncio.sleep`` calls, with the future that the task waits for."""


Waiting: TypeAlias = "tuple[Context, asyncio.Task[Any] | None, float | None]"
"""Work that waited for the loop: the context it runs in; the task whose step it is; ``perf_counter`` when it
came due, ``None`` where only is known that it waited at the end.

This and the next two are plain tuples: one is made for each of many requests, right after a block."""

Queued: TypeAlias = "tuple[Context, Any, tuple[Any, ...], float | None]"
"""What a loop holds in its queue: the context; what will be called, ``None`` when it belongs to the loop
itself; its arguments; ``perf_counter`` when its time comes, ``None`` for what is not a timer."""

Timer: TypeAlias = "tuple[Context, float, Any]"
"""A timer that the loop calls straight away, not from its queue: the context; ``perf_counter`` when its time
comes; the future of the ``asyncio.sleep`` that it ends, ``None`` where it is no such timer."""


Upcoming: TypeAlias = "tuple[Any, Context, float, Any]"
"""A timer whose time has yet to come: its handle, and the three of :data:`Timer`, whatever the loop does with
it when its time has come."""


class Opening(NamedTuple):
    """A step in making a connection that a client has opened."""

    turns_to_read: int
    """Turns from there to the first step of a task for what came on it."""
    connection: int
    """Its file descriptor; -1 where it has none yet."""


class Foreseen(NamedTuple):
    """Timers whose time was to come soon, found while a callback ran."""

    started: float
    """``perf_counter`` at the callback's start."""
    until: float
    """Up to when; all the timers there were then."""
    timers: list[Upcoming]


class Queue(Protocol):
    """What is waiting in a loop; one class per loop implementation. To be used on the loop's thread."""

    turns_after_receiving: int
    """Turns from the one in which the loop has looked for what arrived to that in which the tasks run."""

    ready: deque[Any]
    """The handles of what will be called next, in this order."""

    def read(self, handles: Sequence[Any]) -> list[Queued]:
        """What these handles are; those that were cancelled are left out."""

    def opening(self, callback: Any, arguments: tuple[Any, ...]) -> Opening | None:
        """What this callback has to do with a new connection."""

    def upcoming(self, until: float) -> list[Upcoming]:
        """The timers whose time comes until then, in any order; on any thread."""

    def timers(self, until: float, among: list[Upcoming] | None = None) -> Iterable[Timer]:
        """Those that do not come into the queue; those of ``among``, where it is known that there are no
        others."""


class Follower(Protocol):
    """What wants to know who waited for one block. Called on the loop's thread."""

    def waited(self, waiting: Iterator[Waiting]) -> None:
        """More that had to wait: who, can be read from their contexts until they run."""

    def span_started(self, span: Any, task: asyncio.Task[Any] | None) -> None:
        """A span without a parent in this process has started in ``task``."""

    def ended(self) -> None:
        """There is no more to come."""
