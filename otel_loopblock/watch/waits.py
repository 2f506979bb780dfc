"""Why a loop that rested could not run on when it wanted to: somebody kept the GIL, or there was no CPU.

No callback runs then, so nothing that times callbacks sees it. What the kernel counts of the loop's thread
does (see core/native/rests.c): how often it got a CPU while it rested, and how long it could have run but
had none.
"""

from __future__ import annotations

import sys
from typing import Literal, NamedTuple

from otel_loopblock.watch.keeper import Found, threads

NO_CPU_S = 0.05
"""Of a shorter wait for a CPU nothing is told: a machine that is busy has every thread wait now and then, and
the loop's lag tells of it."""

COMPUTED_SHARE = 0.4
"""Of the time for which the GIL was kept: other threads have computed for as long, though whoever kept it may
have had no CPU for the rest. A loop that its selector wakes up for what is no callback looks the same but
for that."""

SURE_SHARE = 0.8
"""The same of a wait that is shorter than :data:`NO_CPU_S`: it hangs on a few wake-ups."""

_LATENESS_S = 0.00006
"""How much later than asked for the kernel wakes up who waits for the GIL."""


class Rest(NamedTuple):
    """What was counted of a loop's thread from a moment in a rest to its end. Times in seconds."""

    since: float
    """``perf_counter``."""
    now: float
    queued_s: float
    """How long the thread could have run but had no CPU."""
    runs: int
    """How often it got a CPU: once when its selector came back, once per time that it asked for the GIL."""
    cpu_s: float
    """CPU time of the thread."""
    process_cpu_s: float
    due: float | None = None
    """When the loop was to run at the latest, where that is known."""


class Wait(NamedTuple):
    """A time in which a loop wanted to run and could not."""

    began: float
    """``perf_counter``; to within half a switch interval (2.5 ms), for the GIL."""
    ended: float
    cause: Literal["gil_contention", "descheduled"]
    gil_s: float
    """How long the loop's thread waited for the GIL, in seconds."""
    rest: Rest
    found: Found
    """Who kept the GIL."""


NOBODY = Found(None)


class Episodes:
    """Times that were told: a time without a CPU is told once, whoever tells of it."""

    __slots__ = ("_ended",)

    def __init__(self) -> None:
        self._ended = 0.0

    def begin(self, began: float, ended: float) -> bool:
        """Whether this one was not told yet, and note it.

        Args:
            began: ``perf_counter`` at its start.
            ended: at its end.
        """
        is_new = began >= self._ended
        self._ended = max(self._ended, ended)
        return is_new


episodes = Episodes()
"""Those of this process."""


def judge(rest: Rest, threshold_s: float) -> Wait | None:
    """Tell what a loop waited for when its rest ended; ``None`` where it did not, or for less than matters.

    On the loop's thread, before anybody else runs: what kept the GIL is looked at now.

    Args:
        rest: what was counted.
        threshold_s: how long a wait must be.
    """
    interval_s = sys.getswitchinterval() + _LATENESS_S
    span_s = rest.now - rest.since
    queued_s = min(rest.queued_s, span_s)
    # It got a CPU when its selector came back, after each interval, and when the GIL was let go of: somewhere
    # within the last interval.
    gil_s = min(max(0.0, (rest.runs - 1.5) * interval_s), span_s - queued_s)
    began = rest.now - gil_s - queued_s
    if rest.due is not None:
        began = min(began, max(rest.due, rest.since))
    lasted_s = rest.now - began
    others_s = rest.process_cpu_s - rest.cpu_s
    if gil_s >= threshold_s and gil_s >= 0.5 * lasted_s:
        if others_s < (COMPUTED_SHARE if gil_s >= NO_CPU_S else SURE_SHARE) * gil_s:
            return None
        found = threads.find(gil_s, others_s, began)
        if found.keeper is None and not (found.others and gil_s >= NO_CPU_S):
            return None
        episodes.begin(began, rest.now)
        return Wait(began, rest.now, "gil_contention", gil_s, rest, found)
    # Whoever stands still lets nobody compute, and is in no queue.
    stopped_s = lasted_s - gil_s - queued_s
    stopped = stopped_s >= threshold_s and stopped_s >= 0.5 * lasted_s > others_s
    queued = queued_s >= max(threshold_s, NO_CPU_S) and queued_s >= 0.5 * lasted_s
    if (stopped or queued) and episodes.begin(began, rest.now):
        return Wait(began, rest.now, "descheduled", gil_s, rest, NOBODY)
    return None


def stood_still(rest: Rest, threshold_s: float, busy_s: float) -> Wait | None:
    """Tell whether the process was stopped while a loop was busy: what was due then came late.

    Args:
        rest: what was counted until it came; ``due`` is when it was to.
        threshold_s: how long a standstill must be.
        busy_s: seconds that callbacks took meanwhile. If one lasted as long, that is told.
    """
    assert rest.due is not None
    late_s = rest.now - rest.due
    stopped_s = late_s - rest.queued_s
    if rest.runs * sys.getswitchinterval() >= 0.5 * late_s:
        return None  # it asked for the GIL again and again
    if stopped_s < max(threshold_s, 0.5 * late_s) or max(busy_s, rest.process_cpu_s) >= 0.5 * late_s:
        return None
    if not episodes.begin(rest.due, rest.now):
        return None
    return Wait(rest.due, rest.now, "descheduled", 0.0, rest, NOBODY)
