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

from otel_loopblock.alarm import Alarm

DELAY_TICKS = 2.0
"""After so many ticks a loop that has begun to run is looked at: half of a threshold, that a block of 12 ms
at a threshold of 10 ms is looked at although Python code keeps the GIL for a switch interval (5 ms)."""

FRESH_TICKS = 2.0
"""The clocks that were read so many ticks ago for a loop that began to run need not be read again. That is
half of a threshold: what a thread may have computed meanwhile cannot turn a block that waits into one that
computes, nor the other way round."""

BASELINE_TICKS = 8
"""Ticks between readings of the scheduler's counters while no callback is long."""

PUT_OFF_TICKS = 1.0
"""An alarm that was set less than so many ticks ago is not put off: to set it again costs more than all the
rest that is done when a loop begins to run. A loop that runs for longer than is then left of the delay wakes
the watchdog for nothing, which costs several times as much: at 1.6, that ate up what was saved."""

LONGEST_WAIT_S = 1.0
"""How long the alarm is put off, or waited for, at most, whatever has happened to it."""


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
        self._waiting = False
        self._due = 0.0
        self._rung = False
        self._waiting_since = 0.0
        self._put_off_until = 0.0
        self.tick_s = 0.0025

    # -- any thread ---------------------------------------------------------------------------

    def put_off(self, now: float) -> None:
        """Put the alarm off, if it is there for nobody but the loop that has just been noted to begin.

        Args:
            now: ``perf_counter``.
        """
        # Not the look at another loop, nor what was rung for. And not what has gone off: until it is awake,
        # to set the alarm again keeps the watchdog from waking up.
        if (
            self._waiting
            and not self._rung
            and (self._due == 0.0 or (len(self.began) == 1 and now < self._put_off_until))
        ):
            self._set(now, DELAY_TICKS * self.tick_s)

    def __contains__(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it was seen to begin to run, and not yet to end."""
        return id(loop) in self.began

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
        self._due = self._put_off_until = due = now + seconds
        self.put_off_from = inf if self._rung else now + PUT_OFF_TICKS * self.tick_s
        if due > self._waiting_since + LONGEST_WAIT_S:
            self._put_off_until = self._waiting_since + LONGEST_WAIT_S
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
        self.put_off_from = inf
        self.began.clear()

    def can_wait(self, now: float) -> bool:
        """Whether there is an alarm, and no loop seen to begin has run for long enough to be looked at."""
        return self._alarm is not None and not self._has_run_long(now)

    def _has_run_long(self, now: float) -> bool:
        return now - self._oldest(now) >= (DELAY_TICKS - PUT_OFF_TICKS) * self.tick_s

    def _oldest(self, otherwise: float) -> float:
        return min(list(self.began.values()), default=otherwise)

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
            while alarm.set(None):
                # Only now: somebody who sets it notes that before he does it.
                self._due, self._rung = 0.0, False
                self.put_off_from = 0.0
                oldest = self._oldest(0.0)
                if oldest:
                    self._set(now, oldest + DELAY_TICKS * self.tick_s - now)
                if is_wanted():
                    return now, now
                alarm.wait(LONGEST_WAIT_S)
                now = perf_counter()
                if self._rung or self._has_run_long(now) or now >= self._waiting_since + LONGEST_WAIT_S:
                    # Put off, or not due at all, when it woke up nevertheless: then it was not late.
                    return (self._due if 0.0 < self._due <= now else now), now
                # It went off for a loop that has ended since: to look costs far more than to wait again.
            self._alarm = None
            return now, now
        finally:
            self._waiting = False
            self.put_off_from = inf
