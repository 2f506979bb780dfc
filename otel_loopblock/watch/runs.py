"""Which loops run and since when, and the watchdog's wait until one has run for long enough to be looked at.

A loop that is run for a millisecond at a time, as by tests, must not be looked at each quarter of a
threshold: each time it begins to run it puts the alarm off. So the watchdog sleeps on, which a wake-up from
the loop's thread would not let it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from time import perf_counter
from typing import Any, NamedTuple

from otel_loopblock.watch.alarm import MOMENTS, Alarm

DELAY_TICKS = 2
"""At the latest so many ticks after it began to run a loop is looked at: half of a threshold, that a block of
12 ms at a threshold of 10 ms is looked at although Python code keeps the GIL for a switch interval (5 ms).
The alarm's moments are a tick apart, so it is at the earliest one tick sooner."""

FRESH_TICKS = 2.0
"""The clocks that were read so many ticks ago for a loop that began to run need not be read again. That is
half of a threshold: what a thread may have computed meanwhile cannot turn a block that waits into one that
computes, nor the other way round."""

BASELINE_TICKS = 8
"""Ticks between readings of the scheduler's counters while no callback is long."""

LONGEST_WAIT_S = 1.0
"""How long the alarm is waited for at most, whatever has happened to it."""

_MOST_FAILURES = 3
"""An alarm that went off at once so many times in a row is not waited for again."""


class WakeUp(NamedTuple):
    """How a wait of the watchdog ended."""

    due: float
    """``perf_counter`` when it was to wake up."""
    at: float
    """When it did."""
    moments: int
    """For how many moments of the alarm its thread has got a CPU meanwhile, the last one included."""
    wanted: bool
    """Whether it is to look at the loops, or was rung for; else it may wait again."""


class _Moments(NamedTuple):
    """Those of one wait; in one object, as the next wait may begin while somebody sets the alarm."""

    origin: float
    """``perf_counter`` one step before the first."""
    per_s: float
    last: int
    """How many there are."""
    number: Any
    """:attr:`~otel_loopblock.watch.alarm.Alarm.number`."""


class Runs:
    """The runs of all loops that the hook on ``run_forever`` sees.

    Loops begin in several threads without a lock. What makes that safe: who begins notes it in :attr:`began`,
    then asks from when the alarm is to be put off; the watchdog says from when, then asks who runs.
    """

    def __init__(self) -> None:
        self.began: dict[int, float] = {}
        """The loops that run, by id, and ``perf_counter`` when each began; the hook writes it."""
        self.put_off_from = inf
        """``perf_counter`` from when on a loop that begins to run calls :meth:`put_off`."""
        self._alarm: Alarm | None = None
        self._moments: _Moments | None = None
        self._waiting = False
        self._rung = False
        self._is_set = False
        """Whether a loop has begun to run since the watchdog began to wait."""
        self._quiet = False
        """Whether none has in a whole wait: then it sleeps for longer, and whoever begins rings."""
        self._failures = 0
        self.tick_s = 0.0025

    # -- any thread ---------------------------------------------------------------------------

    def put_off(self, now: float) -> None:
        """Put the alarm off, if it is there for nobody but the loop that has just been noted to begin.

        Args:
            now: ``perf_counter``.
        """
        # Not the look at another loop, nor what was rung for.
        if not self._waiting or self._rung or (self._is_set and len(self.began) > 1):
            return
        self._is_set = True
        if self._quiet or self._set(now, DELAY_TICKS) or self._rung:
            self.put_off_from = inf
            self.ring()

    def __contains__(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it was seen to begin to run, and not yet to end."""
        return id(loop) in self.began

    def ring(self, soon: bool = False) -> None:
        """Wake the watchdog, if it waits.

        Args:
            soon: it need not be now, but within a tick.
        """
        if not self._waiting:
            return
        self._rung = True
        alarm = self._alarm
        if alarm is not None and (not soon or self._quiet or self._set(perf_counter(), 1)):
            alarm.ring()

    def next_due(self, ticked: float) -> float:
        """When the watchdog's next wake-up is or was due, after one at ``ticked``."""
        due, moments = ticked + self.tick_s, self._moments
        return max(due, _due(moments)) if self._waiting and moments is not None else due

    def moments_before(self) -> int:
        """How many moments of the alarm pass before the one with which that wake-up is due."""
        moments = self._moments
        return int(moments.number.value) - 1 if self._waiting and moments is not None else 0

    def _set(self, since: float, ticks: int) -> bool:
        """Have the alarm go off with the last moment within so many ticks; whether it is overdue."""
        while True:
            moments = self._moments
            if moments is None:
                return False
            origin, per_s, last, number = moments
            step = int((since - origin) * per_s + 1.0)  # that of the next moment, counted from 1
            # A wait may have begun since: below 0 the library would read on beyond the last moment.
            number.value = max(1, min(step + ticks - 1, last))
            self.put_off_from = origin + step / per_s
            if self._moments is moments:
                # It waits by the time of day: set back, that would keep it asleep.
                return step > last + DELAY_TICKS

    # -- the watchdog -------------------------------------------------------------------------

    def open(self) -> None:
        """Get an alarm, where there is one to be had."""
        self._failures = 0
        try:
            self._alarm = Alarm()
        except OSError:
            self._alarm = None

    def close(self) -> None:
        """Give it back; whoever still waits for it is no concern of the next one to wait."""
        self._alarm = self._moments = None
        self._waiting = False
        self.put_off_from = inf

    def forget(self) -> None:
        """In a forked child: the watchdog is not there, nor are the other threads in which loops run."""
        self.close()
        self.began.clear()

    def can_wait(self, now: float) -> bool:
        """Whether there is an alarm, and no loop seen to begin has run for long enough to be looked at."""
        return self._alarm is not None and not self._has_run_long(now)

    def _has_run_long(self, now: float) -> bool:
        return now - self._oldest(now) >= (DELAY_TICKS - 1) * self.tick_s

    def _oldest(self, otherwise: float) -> float:
        return min(list(self.began.values()), default=otherwise)

    def wait(self, is_wanted: Callable[[], bool]) -> WakeUp:
        """Wait until a loop has run for long enough to be looked at, or somebody rings, or for a while.

        Args:
            is_wanted: whether there is a reason not to wait; asked once it is certain that whoever has one
                from then on will ring.
        """
        alarm = self._alarm
        if alarm is None:
            now = perf_counter()
            return WakeUp(now, now, 0, True)
        step_s = LONGEST_WAIT_S if self._quiet else self.tick_s
        last = max(1, min(MOMENTS, int(LONGEST_WAIT_S / step_s)))
        now = alarm.begin(step_s, last)
        self._moments = moments = _Moments(now, 1.0 / step_s, last, alarm.number)
        self._waiting = True
        try:
            # Only now: who sets it notes that before he does it.
            self._rung = self._is_set = False
            self.put_off_from = 0.0
            oldest = self._oldest(0.0)
            if oldest:
                self.put_off(oldest)
            if is_wanted() or self._has_run_long(now):
                return WakeUp(now, now, 0, True)
            alarm.wait()
            if self._moments is not moments:
                now = perf_counter()
                return WakeUp(now, now, 0, True)
            return self._woken(moments)
        finally:
            if self._moments is moments:
                self._waiting = False
                self.put_off_from = inf

    def _woken(self, moments: _Moments) -> WakeUp:
        now, due = perf_counter(), _due(moments)
        passed = int((now - moments.origin) * moments.per_s)
        wanted = self._rung or self._has_run_long(now)
        self._quiet = not wanted and not self._is_set and not self.began
        self._failures = self._failures + 1 if not wanted and passed == 0 else 0
        if self._failures >= _MOST_FAILURES:
            self._alarm = None
        # Rung, or put off when it woke up nevertheless: then it was not late.
        return WakeUp(min(due, now), now, min(passed, moments.number.value), wanted)


def _due(moments: _Moments) -> float:
    return moments.origin + float(moments.number.value) / moments.per_s
