"""Which loops run and since when, and the watchdog's wait until one has run for long enough to be looked at.

A loop that is run for a millisecond at a time, as by tests, must not be looked at each quarter of a
threshold: each time it begins to run it puts the alarm off. So the watchdog sleeps on, which a wake-up from
the loop's thread would not let it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

from otel_loopblock.alarm import Alarm

DELAY_TICKS = 2
"""After so many ticks a loop that has begun to run is looked at: half of a threshold, that a block of 12 ms
at a threshold of 10 ms is looked at although Python code keeps the GIL for a switch interval (5 ms)."""

FRESH_TICKS = 1.0
"""What was done so many ticks ago for a loop that began to run need not be done again."""

LONGEST_WAIT_S = 1.0
"""How long the alarm is put off, or waited for, at most, whatever has happened to it."""


class Runs:
    """The runs of all loops that the hook on ``run_forever`` sees.

    Loops begin in several threads without a lock. What makes that safe: who begins notes it, then asks
    whether the watchdog waits; the watchdog says that it waits, then asks who runs.
    """

    def __init__(self) -> None:
        self._began: dict[int, float] = {}  # by the id of the loop
        self._alarm: Alarm | None = None
        self._waiting = False
        self._due = 0.0
        self._rung = False
        self._waiting_since = 0.0
        self._put_off_from = 0.0
        self._put_off_until = 0.0
        self.tick_s = 0.0025

    # -- any thread ---------------------------------------------------------------------------

    def begin(self, loop: asyncio.AbstractEventLoop) -> float:
        """Note that a loop begins to run on this thread; returns when: ``perf_counter``."""
        now = perf_counter()
        began = self._began
        began[id(loop)] = now
        # Put off only what is there for nobody else: not the look at another loop, nor what was rung for. And
        # not what has gone off: until it is awake, to set the alarm again keeps the watchdog from waking up.
        if (
            self._waiting
            and not self._rung
            and (self._due == 0.0 or (len(began) == 1 and self._put_off_from <= now < self._put_off_until))
        ):
            self._set(now, DELAY_TICKS * self.tick_s)
        return now

    def end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note that it runs no more."""
        self._began.pop(id(loop), None)

    def __contains__(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it was seen to begin to run, and not yet to end."""
        return id(loop) in self._began

    def ring(self, seconds: float = 0.0) -> None:
        """Wake the watchdog, if it waits, so many seconds from now or earlier."""
        if not self._waiting:
            return
        self._rung = True
        now = perf_counter()
        if self._due == 0.0 or self._due > now + seconds:
            self._set(now, seconds)

    def next_due(self, ticked: float) -> float:
        """When the watchdog's next wake-up is or was due, after one at ``ticked``."""
        due = ticked + self.tick_s
        return max(due, self._due) if self._waiting else due

    def _set(self, now: float, seconds: float) -> None:
        alarm = self._alarm
        if alarm is None:
            return
        self._due = now + seconds
        self._put_off_from = now + FRESH_TICKS * self.tick_s
        self._put_off_until = min(self._due, self._waiting_since + LONGEST_WAIT_S)
        if not alarm.set(seconds):
            self._alarm, self._due = None, 0.0

    # -- the watchdog -------------------------------------------------------------------------

    def open(self) -> None:
        """Get an alarm, where there is one to be had."""
        self.close()
        try:
            self._alarm = Alarm()
        except OSError:
            self._alarm = None

    def close(self) -> None:
        """Give it back."""
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.close()

    def forget(self) -> None:
        """In a forked child: the alarm is the parent's, and so are the threads in which loops run."""
        self.close()
        self._waiting = False
        self._began.clear()

    def can_wait(self, now: float) -> bool:
        """Whether there is an alarm, and no loop seen to begin has run for long enough to be looked at."""
        if self._alarm is None:
            return False
        return now - self._oldest(now) < (DELAY_TICKS - FRESH_TICKS) * self.tick_s

    def _oldest(self, otherwise: float) -> float:
        return min(list(self._began.values()), default=otherwise)

    def wait(self, is_wanted: Callable[[], bool]) -> tuple[float, float]:
        """Wait until a loop has run for long enough to be looked at, or somebody rings.

        Args:
            is_wanted: whether there is a reason not to wait; asked once it is certain that whoever has one
                from then on will ring.

        Returns:
            When it was to wake up and when it did.
        """
        alarm = self._alarm
        now = perf_counter()
        if alarm is None:
            return now, now
        self._waiting_since = now
        self._waiting = True
        try:
            if not alarm.clear():
                self._alarm = None
                return now, now
            self._due, self._rung = 0.0, False  # only now: somebody who sets it notes that before he does it
            oldest = self._oldest(0.0)
            if oldest:
                self._set(now, oldest + DELAY_TICKS * self.tick_s - now)
            if is_wanted():
                return now, now
            alarm.wait(LONGEST_WAIT_S)
            woken = perf_counter()
            # Put off, or not due at all, when it woke up nevertheless: then it was not late.
            return (self._due if 0.0 < self._due <= woken else woken), woken
        finally:
            self._waiting = False
