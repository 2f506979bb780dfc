"""Why a callback blocked its loop: a pure function from clock readings to a cause.

The rules rest on measurements on CPython 3.11 to 3.13 (DESIGN.md 4.5): the CPU clock of the loop's
thread tells computing from not computing; how late the watchdog itself was woken tells whether somebody
held the GIL; the process's CPU clock tells who. Where the evidence is thin the answer is ``unknown``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from otel_loopblock.watch.evidence import Delay, Evidence, Look, Reading, Throttling, collected_between

Cause = Literal["cpu", "gil_held", "wait", "gil_contention", "gc", "descheduled", "unknown"]
"""Value of ``event_loop.block.cause``."""


_HELD: dict[bool | None, float] = {True: 0.25, False: 0.5, None: 0.8}
"""Share of the computing that must be seen to have kept the GIL, by whether the call is known to."""


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
    """How long the watchdog waited for the GIL, as far as can be told."""
    long_late_s: float
    """The part of it in single waits that Python code does not cause."""
    stopped_s: float
    """How long the watchdog stood still though it did not wait for the GIL, nor for a CPU."""
    gil_taken: bool
    """Whether it was seen to wait for the GIL for long."""
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
    throttled: Throttling | None = None
    """What the cgroup's CPU limit did around the stretch."""


class Judgement(NamedTuple):
    """The cause and what it rests on."""

    cause: Cause
    releases_gil: bool | None
    """For ``cpu``: whether the code had released the GIL, so that a thread would help; else ``None``."""
    evidence: Mapping[str, float]
    """Attributes of the event: times in seconds and shares of the block."""


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
    counted = [evidence.baseline, *evidence.looks, evidence.end]
    first, last = _around([r for r in counted if r is not None and r.scheduling is not None], began, ended)
    queued: float | None = None
    runs: int | None = None
    if first.scheduling is not None and last.scheduling is not None and last.at > first.at:
        queued = min(duration, max(0.0, last.scheduling.queued_s - first.scheduling.queued_s))
        runs = last.scheduling.runs - first.scheduling.runs
    late_s = long_late_s = stopped_s = 0.0
    asked = False
    for delay in evidence.delays:
        part = _within(delay, began, ended)
        if part > 0:
            late_s += delay.gil_s * part
            long_late_s += delay.long_s * part
            stopped_s += delay.stopped_s * part
            asked |= delay.asked
    return Measurements(
        duration_s=duration,
        thread_cpu_s=thread_cpu,
        process_cpu_s=process_cpu,
        gc_s=collected_between(evidence.collections, began, ended),
        queued_s=queued,
        runs=runs,
        late_s=late_s,
        long_late_s=long_late_s,
        stopped_s=stopped_s,
        gil_taken=asked,
        looks=len(looks),
        switch_interval_s=sys.getswitchinterval(),
        tick_s=tick_s,
        in_call=in_call,
        in_c_call=in_c_call,
        call_waits=call_waits,
        call_holds_gil=call_holds_gil,
        throttled=evidence.throttled,
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
    if (
        readings[0].at <= began
        and (len(readings) == 1 or readings[1].at > began)
        and ended >= readings[-1].at
    ):
        return readings[0], readings[-1]  # the whole callback, as most are
    first = next((r for r in reversed(readings) if r.at <= began), readings[0])
    last = next((r for r in readings if r.at >= ended), readings[-1])
    return first, last


def _within(delay: Delay, began: float, ended: float) -> float:
    """The part of a delay that fell into the stretch."""
    overlap = min(delay.at, ended) - max(delay.due, began)
    return max(0.0, overlap) / (delay.at - delay.due) if delay.at > delay.due else 0.0


def judge(m: Measurements) -> Judgement:
    """Tell why the loop was blocked.

    A mixed block gets the cause with the largest share of the time; the shares are in the evidence.
    """
    evidence: dict[str, float] = {}
    if m.gc_s > 0:
        evidence["event_loop.block.gc_time"] = m.gc_s
    if m.gc_s >= 0.9 * m.duration_s:
        return Judgement("gc", None, evidence)
    if m.thread_cpu_s is None or m.process_cpu_s is None or m.duration_s < 2 * m.tick_s:
        return Judgement("unknown", None, evidence)
    low, high = m.thread_cpu_s
    cpu = (low + high) / 2
    evidence["event_loop.block.cpu_time"] = cpu
    evidence["event_loop.block.process_cpu_time"] = m.process_cpu_s
    evidence["event_loop.block.watchdog_lateness"] = m.late_s
    if m.queued_s is not None:
        evidence["event_loop.block.run_queue_delay"] = m.queued_s
    if m.throttled is not None and m.throttled.periods > 0:
        evidence["event_loop.block.throttled_periods"] = m.throttled.periods
        evidence["event_loop.block.throttled_time"] = m.throttled.throttled_s
    if not m.looks and m.late_s == 0 and m.stopped_s == 0 and not m.queued_s:
        return Judgement("unknown", None, evidence)  # nobody looked: the clocks alone cannot name it

    shares = _shares(m, cpu)
    cause = max(shares, key=lambda name: shares[name])
    share = shares[cause] / m.duration_s
    if share < 0.9:
        for name, seconds in shares.items():
            if seconds >= 0.05 * m.duration_s:
                evidence[f"event_loop.block.share.{name}"] = min(1.0, seconds / m.duration_s)
    # What the readings leave open must not decide between computing and not computing.
    if low < 0.5 * m.duration_s < high and high - low > 0.4 * m.duration_s:
        return Judgement("unknown", None, evidence)
    return Judgement(cause, _releases_gil(m) if cause == "cpu" else None, evidence)


def _shares(m: Measurements, cpu: float) -> dict[Cause, float]:
    assert m.process_cpu_s is not None
    gc_s = min(m.gc_s, m.duration_s)
    computing = max(0.0, cpu - gc_s)
    idle = max(0.0, m.duration_s - max(cpu, gc_s))
    queued = min(idle, m.queued_s or 0.0)
    if m.in_c_call and computing >= 0.2 * m.duration_s and _is_free(m):
        # C code that works with threads of its own (BLAS): it waited for a CPU that its other half had.
        by_own_threads = min(queued, max(0.0, m.process_cpu_s - cpu))
        computing, queued, idle = computing + by_own_threads, queued - by_own_threads, idle - by_own_threads
    # Whoever stands still lets nobody compute, and the other way round.
    stopped = min(m.stopped_s, max(0.0, m.duration_s - m.process_cpu_s))
    descheduled = min(idle, queued + stopped)
    rest = idle - descheduled
    running = m.duration_s - descheduled
    idle_cause = _idle_cause(m, rest, running, cpu, m.late_s + m.stopped_s - stopped)
    contended = idle_cause == "gil_contention" and rest >= 0.25 * m.duration_s
    # Computing is one thing until the GIL decides which: neither half must lose to a third cause. While
    # the thread did not compute, it was another that kept the GIL.
    held = m.long_late_s - rest >= _HELD[m.call_holds_gil] * computing and not contended
    shares: dict[Cause, float] = {
        "gc": gc_s,
        "gil_held" if held else "cpu": computing,
        "descheduled": descheduled,
    }
    shares[idle_cause] = shares.get(idle_cause, 0.0) + rest
    return shares


def _idle_cause(m: Measurements, rest: float, running: float, cpu: float, late: float) -> Cause:
    """Why the loop's thread did not compute though it could have had a CPU: by choice, or for the GIL.

    Args:
        m: what was measured.
        rest: seconds in which it did not compute.
        running: seconds in which the process was not kept from running.
        cpu: seconds in which the thread computed.
        late: seconds that the watchdog waited for the GIL.
    """
    assert m.process_cpu_s is not None
    if m.call_waits or late < 0.35 * running:
        return "wait"
    # A thread that waits for the GIL wakes up at each switch interval; one that waits for data does not.
    waits = rest / m.switch_interval_s
    if m.process_cpu_s - cpu >= 0.4 * running:
        return "gil_contention" if m.runs is None or m.runs >= 0.3 * waits else "wait"
    # The GIL was taken and nobody computed: C code that waits, and keeps it. Or all stood still, where
    # that cannot be told apart.
    if not m.gil_taken:
        return "unknown"
    # Another thread's code, if this one wanted the GIL all the time. C code may wake up often, too.
    return "gil_contention" if m.runs is not None and 0.7 * waits <= m.runs <= 1.5 * waits else "gil_held"


def _is_free(m: Measurements) -> bool:
    """Whether the GIL was free to take all the time: the watchdog hardly waited for it."""
    return m.looks >= 2 and m.late_s < 0.15 * m.duration_s and m.long_late_s == 0.0


def _releases_gil(m: Measurements) -> bool | None:
    """Whether code that computed left the GIL to others, be it C or a library's mixture of both."""
    if _is_free(m):
        # Python code of the application's own that seems to leave the GIL alone: only on a quiet machine
        # is that an operator of C code (of numpy, say), and not the doing of other processes.
        return True if m.in_call or (m.queued_s or 0.0) < 0.1 * m.duration_s else None
    return None if m.in_c_call or m.late_s < 0.35 * m.duration_s else False
