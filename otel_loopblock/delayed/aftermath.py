"""Who had to wait for a callback: the contexts whose work was ready, or came due, while it ran.

What can be told at its end is certain: the handles that the loop holds ready, and the timers whose time
has come. What arrived from the outside meanwhile is known only when the loop has looked for it, and
woken the tasks that wait for it: an :class:`Aftermath` looks again, from callbacks of its own, in the next
turns of the loop, and :class:`~otel_loopblock.delayed.arrivals.Arrivals` tells what came in time. Nothing
here runs unless a callback was over the threshold, and nothing here knows OpenTelemetry: a follower reads the
contexts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextvars import Context
from itertools import islice
from typing import Any, Final

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.delayed.arrivals import TURNS_TO_READ, Arrivals
from otel_loopblock.delayed.queue import (
    SHORTEST_S,
    SLEEPS,
    Follower,
    Foreseen,
    Opening,
    Queue,
    Queued,
    Waiting,
)
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.monitor import Monitor

LATE_SHARE: Final = 0.25
"""What arrived from the outside, nobody knows when, is charged to a block if the loop came to look for it,
after the block's end, within this share of its length: four of five such arrivals, at least, then fell into
the block."""

MAX_OPEN: Final = 8
"""Blocks of one loop whose aftermath may be looked at in the same turn."""

MAX_HANDLES: Final = 2000
"""Handles looked at per turn; a queue that is longer is looked at up to here."""

MAX_CALLBACKS: Final = 200
"""Callbacks of the loop that are attended to after a block, to learn what data has woken; or"""
CALLBACKS_PER_S: Final = 10_000
"""so many for each second of a longer one. Each takes close to a microsecond."""

AT_ONCE: Final = 32
"""Handles read before those who follow are asked whether they want more."""


class Aftermath:
    """What one callback of one loop made wait.

    Args:
        queue: of the loop.
        started: ``perf_counter`` at the callback's start.
    """

    __slots__ = (
        "_arrivals",
        "_asleep",
        "_callbacks_left",
        "_ended",
        "_follower",
        "_last_turn",
        "_looked_late",
        "_monitor",
        "_queue",
        "_superseded",
        "_turn",
        "_turns",
        "started",
    )

    def __init__(self, queue: Queue, started: float) -> None:
        self.started = started
        self._queue = queue
        self._ended = 0.0
        self._turn = 0
        self._turns = 0
        self._last_turn = 0
        self._looked_late = False
        self._callbacks_left = 0
        self._arrivals = Arrivals(queue)
        self._superseded = False
        self._asleep: set[Any] = set()
        self._follower: Follower | None = None
        self._monitor: Monitor | None = None

    def waiting(self, now: float, foreseen: Foreseen | None = None) -> Iterator[Waiting]:
        """What is ready or due by now; to be called once, when the callback ends.

        Args:
            now: ``perf_counter``.
            foreseen: found before.
        """
        self._ended = now
        told_until = now - SHORTEST_S
        # Who wakes later than that comes too late to be counted.
        until = now + LATE_SHARE * (now - self.started)
        among = None
        if foreseen is not None and foreseen.started == self.started and foreseen.until >= until:
            among = foreseen.timers
        for context, due, future in self._queue.timers(until, among):
            if future is not None:
                # Its task is told now; or it slept until after the end and was not made to wait, although it
                # wakes with those that were.
                self._asleep.add(future)
            if due <= told_until:
                yield context, None, due
        yield from self._ready(tasks_only=False)

    def follow(self, monitor: Monitor, ended: float, turns: int, follower: Follower) -> None:
        """Go on looking for what the callback, which has just ended, made wait.

        Args:
            monitor: of the loop.
            ended: ``perf_counter`` at the callback's end.
            turns: how many turns of the loop it takes until what came from the outside during the
                callback has been seen by the loop and has woken its tasks.
            follower: who wants to know.
        """
        for other in aftermaths(monitor):
            other._superseded = True
        if len(monitor.following) >= MAX_OPEN:
            follower.ended()
            return
        self._monitor, self._ended, self._turns, self._follower = monitor, ended, turns, follower
        self._last_turn = max(turns, self._last_turn)
        self._arrivals.begin(ended)
        self._callbacks_left = max(MAX_CALLBACKS, int(CALLBACKS_PER_S * (ended - self.started)))
        monitor.following = (*monitor.following, self)
        monitor.threshold = 0.0
        self._look_again()

    def callback_ended(self, callback: Any) -> None:
        """Learn that a callback of the loop has ended, however short."""
        if self._callbacks_left <= 0:
            return
        try:
            self._callbacks_left -= 1
            if self._callbacks_left <= 0:  # the turn decides on the rest
                if self._monitor is not None:
                    _tell_of_long_ones_only(self._monitor)
                return
            if self._arrivals.callback_ended(callback):
                self._last_turn = max(self._last_turn, self._turn + TURNS_TO_READ)
        except Exception:
            self._close()
            guard.failed("look for what arrived")

    def loop_stopped(self) -> None:
        """End: the next turn may never come, and what is kept of the loop would keep it for good."""
        self._close()

    def span_started(self, span: Any, task: asyncio.Task[Any] | None) -> None:
        """Pass on a span that has started."""
        if self._follower is not None:
            self._follower.span_started(span, task)

    def _look_again(self) -> None:
        assert self._monitor is not None
        loop = self._monitor.get_loop()
        if loop is None:
            self._close()
            return
        try:
            # Of an empty context: ours must not look like work of the request that blocked.
            loop.call_soon(self._next_turn, context=Context())
        except RuntimeError as error:
            guard.let_through(error)
            self._close()  # the loop is closed

    def _next_turn(self) -> None:
        try:
            self._look()
        except Exception:
            if self._monitor is not None:
                self._monitor.following, self._monitor.threshold = (), demand.threshold_s
            self._monitor = self._follower = None
            guard.failed("look for requests that waited")

    def _look(self) -> None:
        follower, monitor = self._follower, self._monitor
        if follower is None or monitor is None:
            return
        self._turn += 1
        if self._is_over(monitor):
            self._close()
            return
        if self._superseded and self._turn == 1:
            # Whatever came before another block's end waited for that one: which of the two, only timers
            # tell.
            follower.waited(each for each in self._ready(tasks_only=False) if each[2] is not None)
            self._close()
            return
        woken = self._arrivals.woken()
        if self._turn <= self._turns:
            # From the second turn on, what is not a task may be something that has only just arrived.
            follower.waited(self._ready(tasks_only=self._turn > 1))
        else:
            follower.waited((context, task, None) for context, task in woken)
        self._look_again()

    def _is_over(self, monitor: Monitor) -> bool:
        if not demand.is_any:
            return True
        late_after_s = LATE_SHARE * (self._ended - self.started)
        looks = self._turn == self._turns - self._queue.turns_after_receiving
        if looks and perf_counter() - self._ended > late_after_s:
            # What arrived may have arrived since: only that counts of which the kernel tells when.
            self._looked_late = True
            self._turns = self._turn - 1 + self._queue.turns_after_receiving
        return self._turn > self._last_turn

    def _close(self) -> None:
        monitor, follower = self._monitor, self._follower
        self._monitor = self._follower = None
        self._asleep = set()
        self._arrivals.end()
        if monitor is not None:
            monitor.following = tuple(other for other in monitor.following if other is not self)
            _tell_of_long_ones_only(monitor)
        if follower is not None:
            try:
                follower.ended()
            except Exception:
                guard.failed("finish with requests that waited")

    def _ready(self, *, tasks_only: bool) -> Iterator[Waiting]:
        queue, asleep, late, turn = self._queue, self._asleep, self._arrivals.late, self._turn
        told_until = self._ended - SHORTEST_S if turn <= 1 else 0.0
        for context, callback, arguments, due in _read(queue):
            if due is not None:
                if callback is SLEEPS and arguments:
                    asleep.add(arguments[0])
                if due <= told_until:
                    yield context, None, due
                continue
            owner = getattr(callback, "__self__", None)
            is_task = isinstance(owner, asyncio.Task)
            # Looked for only where there is one: the hash of a task is a line of memory away.
            if is_task and ((late and owner in late) or getattr(owner, "_fut_waiter", None) in asleep):
                continue
            opening = queue.opening(callback, arguments)
            if opening is not None:
                self._opening(opening)
            elif is_task:
                yield context, owner, None
            # A transport's context is that of whoever opened the connection, perhaps long ago: the task that
            # it wakes tells.
            elif not tasks_only and callback is not None and not hasattr(owner, "get_extra_info"):
                yield context, None, None

    def _opening(self, opening: Opening) -> None:
        turn = self._turn
        if opening.connection >= 0 and not self._looked_late:
            self._arrivals.expect(opening.connection)
        # What was ready when the block ended runs in the same turn or, if it came last, in the next.
        self._last_turn = max(self._last_turn, turn + opening.turns_to_read + (turn == 0))


def _tell_of_long_ones_only(monitor: Monitor) -> None:
    """Have a monitor tell of blocks only, where no aftermath attends to every callback any more."""
    if not any(each._callbacks_left > 0 for each in aftermaths(monitor)):
        # Again, if another thread has changed it meanwhile.
        while monitor.threshold != demand.threshold_s:
            monitor.threshold = demand.threshold_s


def _read(queue: Queue) -> Iterator[Queued]:
    handles = list(islice(queue.ready, MAX_HANDLES))
    for first in range(0, len(handles), AT_ONCE):
        yield from queue.read(handles[first : first + AT_ONCE])


def aftermaths(monitor: Monitor) -> list[Aftermath]:
    """Those of blocks of a loop that have ended, still looked at."""
    return [each for each in monitor.following if isinstance(each, Aftermath)]
