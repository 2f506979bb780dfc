"""The watchdog's sleep: a tick while callbacks run, none while every loop is idle.

Each tick takes the GIL, and the clock is read only then. So one time stands for two: when it woke up, and
when it had the GIL.
"""

from __future__ import annotations

from _thread import TIMEOUT_MAX, allocate_lock
from contextlib import suppress
from contextvars import ContextVar
from math import inf
from typing import Any

from otel_loopblock.clocks import clock_gettime, perf_counter, process_time
from otel_loopblock.core.pure.callbacks import Monitor
from otel_loopblock.core.pure.clocks import scheduling
from otel_loopblock.core.pure.load import FULL, OVER, RESTS, TELL_S, Slots

LONG_CALLBACK = 1
"""Why a wait ended: a callback is due a look."""

WOKEN = 2
"""Why a wait ended: somebody called :meth:`Waiter.wake`, or time was up."""

LATE = 3
"""Why a wait ended, in the compiled core: far too late. This one cannot tell that from a wait for the GIL."""
LOADED = 4
"""Why a wait ended: a loop is full or was until now, or a sample is due."""

IDLE_TICKS = 1
"""Ticks without a callback, after which it goes to sleep."""

SHORTEST_TICKS = 2
"""Of a shorter rest nothing is asked."""

LONGEST_TICK_S = 3600.0


class Waiter:
    """The watchdog's sleep; a forked child needs another one."""

    __slots__ = (
        "_lock",
        "_requested",
        "_slots",
        "_stale",
        "_tick_s",
        "_told",
        "_waiting",
        "asleep",
        "due",
        "sample_s",
        "saturation_s",
        "threshold_s",
        "variable",
        "wants_sample",
        "woke",
    )

    def __init__(self) -> None:
        self.asleep = False
        """Whether it sleeps until a callback begins: who finds it set calls :meth:`rouse`."""
        self.due = 0.0
        """``perf_counter`` when its next tick is due, or when a callback woke it up; 0.0 while it sleeps, or
        nobody waits."""
        self.woke = 0.0
        """When it woke up for a look, while it waits for the GIL: it cannot tell, so 0.0."""
        self.saturation_s = 0.0
        """A loop that has had nearly no rest for as long is full; 0.0: nobody wants to know."""
        self.threshold_s = 0.0
        """A callback that runs as long is a block."""
        self.sample_s = 0.0
        """Seconds from one sample to the next, on average; 0.0: none are wanted."""
        self.wants_sample = 0
        """Whether a sample was due when the wait ended."""
        self.variable: ContextVar[Any] | None = None
        """A context variable whose value each sample has: here there are none."""
        self._slots = Slots()
        self._told = 0.0
        self._requested = False
        self._stale = False
        self._waiting = False
        self._tick_s = 0.0
        self._lock = allocate_lock()  # held; released to wake
        self._lock.acquire()

    def wait(
        self, monitors: tuple[Monitor, ...], tick_s: float, limit_s: float = inf
    ) -> tuple[int, float, float, float]:
        """Sleep until a callback is due a look, or somebody calls :meth:`wake`.

        Args:
            monitors: those to look at.
            tick_s: seconds between two looks at their fields, and from a callback's start to its first look.
            limit_s: seconds after which it ends in any case, but for a tick.

        Returns:
            Why (:data:`LONG_CALLBACK`, :data:`WOKEN` or :data:`LOADED`), and three times of ``perf_counter``:
            when it was due to wake up, when it did, and when it had the GIL. The last two are one.

        Raises:
            RuntimeError: another thread waits already.
        """
        if not isinstance(monitors, tuple) or not all(isinstance(each, Monitor) for each in monitors):
            raise TypeError("monitors must be a tuple of Monitor objects")
        if not 0.0 < tick_s < LONGEST_TICK_S:
            raise ValueError("tick_s must be above 0 and below 3600")
        if not limit_s > 0.0:
            raise ValueError("limit_s must be above 0")
        if self._waiting:
            raise RuntimeError("another thread waits already")
        self._waiting = True
        self._tick_s = tick_s
        try:
            why, due, woke = self._wait(monitors, tick_s, perf_counter() + limit_s)
        finally:
            self._waiting = False
            self.due = 0.0
        if why == WOKEN:
            # Not when the next wait begins: its monitors were listed before, and another may have come since.
            self._requested = self._stale = False
        return why, due, woke, woke

    def _wait(
        self, monitors: tuple[Monitor, ...], tick_s: float, deadline: float
    ) -> tuple[int, float, float]:
        idle = 0
        last = perf_counter()
        self.wants_sample = 0
        while True:
            self.due = due = self._sample_due(last, last + tick_s)
            released = self._sleep_until(due)
            woke = perf_counter()
            if released and not self._requested:  # roused while it was waking up
                continue
            active, full = False, RESTS
            if not self._requested:
                active, look_due = _look(monitors, woke, tick_s)
                full = self._look_at_load(monitors, woke)
                if not active:
                    self.wants_sample = 0
                if look_due:
                    return LONG_CALLBACK, due, woke
                if full == OVER or self.wants_sample or (full == FULL and woke - self._told >= TELL_S):
                    self._told = woke
                    return LOADED, due, woke
            if self._requested or self._stale or woke >= deadline:
                return WOKEN, woke, woke
            # Late wake-ups are not made up for: the next tick counts from this one.
            last = due if woke - due < tick_s else woke
            idle = 0 if active or full else idle + 1
            if idle >= IDLE_TICKS:
                for monitor in monitors:
                    monitor.begin_rest()
                self._sleep_while_idle(monitors, tick_s, deadline)
                idle = 0
                now = perf_counter()
                last = self.due or now
                # What roused it may have kept the GIL since then.
                _, look_due = _look(monitors, now, tick_s)
                self._look_at_load(monitors, now)
                if look_due and not self._requested:
                    return LONG_CALLBACK, look_due, now

    def _sample_due(self, now: float, tick_due: float) -> float:
        """When the next tick is due: earlier where a sample is."""
        if self.sample_s <= 0.0:
            return tick_due
        if self._slots.due < now:
            self._slots.next(now, self.sample_s)
        return self._slots.due if now < self._slots.due < tick_due else tick_due

    def _look_at_load(self, monitors: tuple[Monitor, ...], now: float) -> int:
        """Look how full the loops are: that of the fullest."""
        fullest = RESTS
        if self.saturation_s > 0.0:
            for monitor in monitors:
                cpu_s = _cpu_seconds(monitor.clock)
                fullest = max(fullest, monitor.tick(now, cpu_s, self.saturation_s, self.threshold_s))
        if self.sample_s > 0.0 and now >= self._slots.due:
            self._slots.next(now, self.sample_s)
            self.wants_sample = 1
        return fullest

    def samples(self) -> list[tuple[Monitor, float, Any, Any, Any]]:
        """Take what the loops were seen to do: nothing, it is left to whoever waits."""
        return []

    def _sleep_while_idle(self, monitors: tuple[Monitor, ...], tick_s: float, deadline: float) -> None:
        self.due = 0.0
        self.asleep = True
        # A callback that began before its loop could see the flag is seen one tick later.
        roused = self._sleep_until(perf_counter() + tick_s)
        if not (roused or self._requested or any(monitor.started for monitor in monitors)):
            self._sleep_until(deadline)
        self.asleep = False

    def _sleep_until(self, moment: float) -> bool:
        """Whether somebody woke it up before."""
        return self._lock.acquire(True, min(max(0.0, moment - perf_counter()), TIMEOUT_MAX))

    def rouse(self, monitor: Monitor, now: float) -> None:
        """Go on ticking: a callback of this monitor's loop has begun."""
        self.asleep = False
        try:
            self._end_rest(monitor, now)
        finally:
            self.due = now
            self._release()

    def _end_rest(self, monitor: Monitor, now: float) -> None:
        since, monitor.rest_at = monitor.rest_at, 0.0
        if since == 0.0 or now - since < SHORTEST_TICKS * self._tick_s:
            return
        found = scheduling(monitor.native_id)
        if found is None:
            return
        queued_s, runs = found[0] - monitor.rest_queued, found[1] - monitor.rest_runs
        if runs >= 2 or queued_s >= self._tick_s:
            monitor.rest_ended(since, now, queued_s, runs)
            monitor.started = perf_counter()  # what that took is no part of the callback

    def wake(self) -> None:
        """End the wait, or the next one at once."""
        if not self._requested:
            self._requested = True
            self.asleep = False
            self._release()

    def refresh(self) -> None:
        """End the wait with its next tick: there are other monitors now. Wakes nobody up."""
        self._stale = True

    def queued(self) -> float | None:
        """How long its thread had no CPU: it does not tell."""
        return None

    def asked(self) -> int | None:
        """How often its thread has asked for the GIL since it woke up: it does not tell."""
        return None

    def _release(self) -> None:
        with suppress(RuntimeError):  # another thread was faster
            self._lock.release()


def _look(monitors: tuple[Monitor, ...], now: float, tick_s: float) -> tuple[bool, float]:
    """Look at all of them: whether a callback ran since the last time, and since when one is due a look."""
    active = False
    look_due = 0.0
    process_cpu = process_time()
    for monitor in monitors:
        started, busy = monitor.started, monitor.busy
        if started or busy != monitor.before_busy:
            active = True
        cpu = _cpu_seconds(monitor.clock)
        due = monitor.look_due if monitor.looked_at == started else started + tick_s
        if started and now >= due:
            look_due = min(due, look_due or due)
            monitor.woke_cpu = cpu
        elif not started or now - started < tick_s:
            monitor.before_cpu = cpu
            monitor.before_process_cpu = process_cpu
            monitor.before_busy = busy
            monitor.before_at = now
    return active, look_due


def _cpu_seconds(clock: int | None) -> float:
    if clock is not None and clock_gettime is not None:
        try:
            return clock_gettime(clock)
        except OSError:  # its thread has ended
            pass
    return -1.0
