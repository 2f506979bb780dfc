"""Why the watchdog itself was late: for want of a CPU, because it was stopped, or because of the GIL."""

from __future__ import annotations

import sys
import threading

from otel_loopblock.watch import cgroup
from otel_loopblock.watch.evidence import Delay, Scheduling, Throttling

LONG_INTERVALS = 1.5
"""Switch intervals: Python code gives up the GIL within one; a longer wait is for C code that kept it."""

TELLING_INTERVALS = 5
"""Switch intervals of lateness from which on it can be told whether the watchdog waited for the GIL."""

THROTTLING_S = 1.0
"""How often the cgroup's counters are read while no callback is long."""


class Lateness:
    """What the watchdog's wake-ups would be late for, if it were not the GIL.

    The counters of its own thread are read rarely; what the ticks in between can have added to them is
    known without asking: no more than they were late.
    """

    def __init__(self) -> None:
        self._before: Scheduling | None = None
        self.stale = True
        """Whether a new baseline is wanted."""
        self._thread = 0
        self._wake_ups = 0
        self._late_s = 0.0
        self._at = 0.0
        self._last: Scheduling | None = None
        self._limit: Throttling | None = None
        self._limit_at = 0.0

    def woke_up(self, due: float, now: float) -> None:
        """Count a wake-up."""
        self._wake_ups += 1
        self._late_s += max(0.0, now - due)

    def woke_up_before(self, times: int) -> None:
        """Count wake-ups of the thread that did not need the GIL, before the one that comes now."""
        self._wake_ups += max(0, times)

    def begin_thread(self, now: float) -> None:
        """Take the first baseline of a thread, without giving up the GIL: a block may have begun with it."""
        self._thread = threading.get_native_id()
        self._rebase(cgroup.scheduling(self._thread), now)

    def begin(self, now: float) -> None:
        """Take a baseline, while nothing is long."""
        self.begin_thread(now)
        if now - self._limit_at >= THROTTLING_S:
            self._limit, self._limit_at = cgroup.throttling(), now

    def forget(self) -> None:
        """Drop the baseline: the thread did other things than to sleep."""
        self._before = None
        self.stale = True

    def explain(self, due: float, now: float, loop_queued_s: float) -> Delay:
        """Why the wake-up at ``now`` was late; called on the watchdog's thread.

        Args:
            due: when it was due.
            now: when it came.
            loop_queued_s: how long the loop's thread waited for a CPU meanwhile. While it has the GIL but
                no CPU, nobody is to blame for keeping the GIL.
        """
        if self._at != now:  # else another loop's callback was asked about in the same wake-up
            counters = cgroup.scheduling(threading.get_native_id())
            late = now - due
            gained = self._gained(counters, late, self._late_s - late, self._wake_ups)
            self._rebase(counters, now)
            self._last = gained
        return _delay(due, now, self._last, loop_queued_s)

    def explain_missing(self, due: float, now: float, loop_queued_s: float, before: int = 0) -> Delay:
        """The same of a wake-up that is due but has not come; called on a loop's thread.

        Args:
            due: when it was due.
            now: the time.
            loop_queued_s: as for :meth:`explain`.
            before: wake-ups that did not need the GIL and came before, in the same wait.
        """
        gained: Scheduling | None = None
        if self._thread:
            counters = cgroup.scheduling(self._thread)
            gained = self._gained(counters, now - due, self._late_s, self._wake_ups + before)
        if gained is not None and gained.runs == 0:
            return Delay(due, now, 0.0, 0.0, 0.0)  # it has not run at all: it waits for a CPU just now
        return _delay(due, now, gained, loop_queued_s)

    def _gained(
        self, counters: Scheduling | None, late: float, earlier: float, wake_ups: int
    ) -> Scheduling | None:
        """What the counters have gained in one wake-up, but for the sleep itself."""
        before = self._before
        if before is None or counters is None:
            return None
        queued = counters.queued_s - before.queued_s - earlier
        return Scheduling(min(late, max(0.0, queued)), max(0, counters.runs - before.runs - wake_ups))

    def throttled(self) -> Throttling | None:
        """What was added to the counters of the cgroup since the last baseline, at most a second ago."""
        before, now = self._limit, cgroup.throttling()
        if before is None or now is None:
            return None
        return Throttling(now.periods - before.periods, now.throttled_s - before.throttled_s)

    def _rebase(self, counters: Scheduling | None, now: float) -> None:
        self._before, self._at, self._last, self.stale = counters, now, None, False
        self._wake_ups, self._late_s = 0, 0.0


def _delay(due: float, now: float, own: Scheduling | None, loop_queued_s: float) -> Delay:
    interval = sys.getswitchinterval()
    queued = loop_queued_s + (own.queued_s if own is not None else 0.0)
    rest = max(0.0, now - due - queued)
    asked = False
    if own is not None and rest >= TELLING_INTERVALS * interval:
        # Whoever waits for the GIL wakes up at each switch interval to ask for it; who is stopped does not.
        asked = own.runs >= 0.5 * rest / interval
        if not asked:
            return Delay(due, now, 0.0, 0.0, rest)
    return Delay(due, now, rest, rest if rest >= LONG_INTERVALS * interval else 0.0, 0.0, asked)
