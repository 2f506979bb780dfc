"""From the evidence of a callback to what was measured of one stretch of it: arithmetic, no judgement."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from otel_loopblock.watch.collecting import collected_between
from otel_loopblock.watch.evidence import Delay, Evidence, Look, Reading, Throttling


class Measurements(NamedTuple):
    """What was measured of one stretch. Times in seconds."""

    duration_s: float
    thread_cpu_s: tuple[float, float] | None
    """Least and most CPU time of the loop's thread in the stretch; ``None`` without a clock."""
    process_cpu_s: float | None
    """CPU time of all threads, scaled to the stretch."""
    gc_s: float
    """Time in the garbage collector, on the loop's thread."""
    queued_s: float | None
    """How long the loop's thread waited for a CPU; ``None`` where the kernel does not tell."""
    runs: int | None
    """How often the loop's thread got a CPU: once per wait, and per time it waits for the GIL."""
    late_s: float
    """How long the watchdog waited for the GIL, in all its wake-ups."""
    long_late_s: float
    """The part of it in single waits that Python code does not cause."""
    long_cpu_s: float
    """CPU time of the loop's thread in those."""
    stopped_s: float
    """How long the watchdog stood still though it did not wait for the GIL, nor for a CPU."""
    untold_s: float
    """How long it was late for what cannot be told."""
    wake_ups: float
    """How often it woke up to look."""
    looks: int
    """Samples taken in the stretch."""
    switch_interval_s: float
    """After which a thread is asked to give up the GIL (``sys.getswitchinterval``)."""
    tick_s: float
    """The watchdog's period."""
    in_call: bool
    """Whether the culprit was seen in a call of somebody else's code."""
    in_c_call: bool
    """Whether the culprit was seen inside a call that left no Python frame."""
    call_waits: bool
    """Whether the call is known to do nothing but wait: a sleep, a lock."""
    call_holds_gil: bool | None
    """Whether the call is known to hold the GIL; ``None`` when there is no call: Python code gives it up."""
    own_threads: bool | None = False
    """Whether the call may compute in threads of its own: C code known to compute. ``None`` where that
    is not known; ``False`` where it is known to wait, or is no C code."""
    throttled: Throttling | None = None
    """What the cgroup's CPU limit did around the stretch."""
    unwatched_s: float = 0.0
    """From the start until the kernel was first asked for ``queued_s``: a wait for a CPU that began and ended
    before is not in it. All of the stretch where it was asked once; 0.0 where it does not tell at all."""


def measure(
    evidence: Evidence,
    looks: Sequence[Look],
    began: float,
    ended: float,
    *,
    tick_s: float,
    in_call: bool,
    in_c_call: bool,
    call_waits: bool,
    call_holds_gil: bool | None,
    own_threads: bool | None = False,
) -> Measurements:
    """Reduce the evidence of a callback to one stretch of it.

    Args:
        evidence: of the whole callback.
        looks: the samples within the stretch.
        began: ``perf_counter`` at its start.
        ended: at its end.
        tick_s: the watchdog's period.
        in_call: whether the culprit was seen in a call of somebody else's code.
        in_c_call: whether that call left no frame.
        call_waits: whether that call is known to wait.
        call_holds_gil: whether it is known to hold the GIL; ``None`` when there is no call.
        own_threads: whether it may compute in threads of its own; ``None`` where that is not known.
    """
    duration = ended - began
    before = [evidence.before] if evidence.before is not None else []
    first, last = _around([*before, *evidence.looks, evidence.end], began, ended)
    thread_cpu: tuple[float, float] | None = None
    process_cpu: float | None = None
    covered = last.at - first.at
    if covered > 0:
        process_cpu = (last.process_cpu - first.process_cpu) * min(1.0, duration / covered)
        if first.thread_cpu is not None and last.thread_cpu is not None:
            thread_cpu = _thread_cpu((first, *looks[:1]), last, evidence.end, began, ended)
    read: list[Reading | Look] = [*evidence.looks, evidence.end]
    counted = [each for each in read if each.scheduling is not None]
    first, last = _around(counted, began, ended)
    queued: float | None = None
    runs: int | None = None
    unwatched_s = duration if counted else 0.0
    if first.scheduling is not None and last.scheduling is not None and last.at > first.at:
        queued = min(duration, max(0.0, last.scheduling.queued_s - first.scheduling.queued_s))
        runs = last.scheduling.runs - first.scheduling.runs
        unwatched_s = min(duration, max(0.0, first.at - began))
    late_s = long_late_s = long_cpu_s = stopped_s = untold_s = 0.0
    for delay in evidence.delays:
        part = _within(delay, began, ended)
        if part > 0:
            late_s += delay.gil_s * part
            long_late_s += delay.long_s * part
            long_cpu_s += delay.long_cpu_s * part
            stopped_s += delay.stopped_s * part
            untold_s += delay.untold_s * part
    return Measurements(
        duration_s=duration,
        thread_cpu_s=thread_cpu,
        process_cpu_s=process_cpu,
        gc_s=collected_between(evidence.collections, began, ended),
        queued_s=queued,
        runs=runs,
        late_s=late_s,
        long_late_s=long_late_s,
        long_cpu_s=long_cpu_s,
        stopped_s=stopped_s,
        untold_s=untold_s,
        # Evenly spread over the callback, as far as is known.
        wake_ups=evidence.wake_ups * duration / max(duration, evidence.end.at - evidence.started),
        looks=len(looks),
        switch_interval_s=sys.getswitchinterval(),
        tick_s=tick_s,
        in_call=in_call,
        in_c_call=in_c_call,
        call_waits=call_waits,
        call_holds_gil=call_holds_gil,
        own_threads=own_threads,
        throttled=evidence.throttled,
        unwatched_s=unwatched_s,
    )


def held_looks(delays: Sequence[Delay]) -> frozenset[float]:
    """When looks were taken that came late because the loop's thread kept the GIL: what it did is over."""
    return frozenset(
        delay.at for delay in delays if delay.long_s > 0 and delay.long_cpu_s >= 0.5 * delay.long_s
    )


def _thread_cpu(
    earlier: Sequence[Reading | Look], last: Reading | Look, end: Reading, began: float, ended: float
) -> tuple[float, float]:
    """The least and the most that the loop's thread can have computed in the stretch.

    Where loops run shortly the reading before it may be old: the first look then leaves less open.
    """
    least, most = 0.0, ended - began
    for each in earlier:
        if last.thread_cpu is not None and each.thread_cpu is not None:
            spent = last.thread_cpu - each.thread_cpu
            outside = _busy_before(each, end, began) + max(0.0, last.at - ended)
            unseen = max(0.0, each.at - began) + max(0.0, ended - last.at)
            least, most = max(least, spent - outside), min(most, spent + unseen)
    least = min(least, ended - began)
    return least, max(least, most)


def _busy_before(first: Reading | Look, end: Reading, began: float) -> float:
    """The most that the loop's thread can have computed between a reading and the stretch.

    It is idle between callbacks, but for what the loop itself does.
    """
    gap = max(0.0, began - first.at)
    return min(gap, max(0.0, end.busy - first.busy) + 0.2 * gap) if first.busy else gap


_NOTHING = Reading(0.0, None, 0.0)


def _around(
    readings: Sequence[Reading | Look], began: float, ended: float
) -> tuple[Reading | Look, Reading | Look]:
    """The closest readings before the start and after the end; within, where there is none outside."""
    if not readings:
        return _NOTHING, _NOTHING
    # Most stretches are all of their callback, but for its very beginning and end.
    first, last = readings[0], readings[-1]
    if len(readings) > 1 and readings[1].at <= began:
        first = next(r for r in reversed(readings) if r.at <= began)
    if len(readings) > 1 and readings[-2].at >= ended:
        last = next(r for r in readings if r.at >= ended)
    return first, last


def _within(delay: Delay, began: float, ended: float) -> float:
    """The part of a delay that fell into the stretch."""
    overlap = min(delay.at, ended) - max(delay.due, began)
    return max(0.0, overlap) / (delay.at - delay.due) if delay.at > delay.due else 0.0
