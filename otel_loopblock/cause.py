"""Why a callback blocked its loop: a pure function from clock readings to a cause.

The rules rest on measurements on CPython 3.11 to 3.13 (DESIGN.md 4.5): the CPU clock of the loop's
thread tells computing from not computing; how late the watchdog itself was woken tells whether somebody
held the GIL; the process's CPU clock tells who. Where the evidence is thin the answer is ``unknown``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from otel_loopblock.samples import Evidence, Look, Reading

Cause = Literal["cpu", "gil_held", "wait", "gil_contention", "gc", "descheduled", "unknown"]
"""Value of ``event_loop.block.cause``."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured of one stretch. Times in seconds."""

    duration_s: float
    thread_cpu_s: tuple[float, float] | None
    """Least and most CPU time of the loop's thread in the stretch; ``None`` without a clock."""
    process_cpu_s: float | None
    """CPU time of all threads, scaled to the stretch."""
    gc_s: float
    """Time in the garbage collector, on the loop's thread."""
    late_s: tuple[float, ...]
    """Each delay of the watchdog's wake-ups that fell into the stretch."""
    looks: int
    """Samples taken in the stretch."""
    switch_interval_s: float
    """After which a thread is asked to give up the GIL (``sys.getswitchinterval``)."""
    tick_s: float
    """The watchdog's period."""
    in_c_call: bool
    """Whether the culprit was seen inside a call that left no Python frame."""
    call_waits: bool
    """Whether the call is known to wait (a lock, a sleep, a driver) rather than to compute."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The cause and what it rests on."""

    cause: Cause
    releases_gil: bool | None
    """For ``cpu``: whether the code had released the GIL, so that a thread would help; else ``None``."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Attributes of the event: times in seconds and shares of the block."""


def measure(
    evidence: Evidence,
    looks: Sequence[Look],
    began: float,
    ended: float,
    *,
    tick_s: float,
    in_c_call: bool,
    call_waits: bool,
) -> Measurements:
    """Reduce the evidence of a callback to one stretch of it.

    Args:
        evidence: of the whole callback.
        looks: the samples within the stretch.
        began: ``perf_counter`` at its start.
        ended: at its end.
        tick_s: the watchdog's period.
        in_c_call: whether the culprit was seen in a call without a frame.
        call_waits: whether that call is known to wait.
    """
    readings = [Reading(look.at, look.thread_cpu, look.process_cpu) for look in evidence.looks]
    if evidence.before is not None:
        readings.insert(0, evidence.before)
    readings.append(evidence.end)
    first = next((r for r in reversed(readings) if r.at <= began), readings[0])
    last = next((r for r in readings if r.at >= ended), readings[-1])
    duration = ended - began
    thread_cpu: tuple[float, float] | None = None
    process_cpu: float | None = None
    covered = last.at - first.at
    if covered > 0:
        process_cpu = (last.process_cpu - first.process_cpu) * min(1.0, duration / covered)
        if first.thread_cpu is not None and last.thread_cpu is not None:
            spent = last.thread_cpu - first.thread_cpu
            outside = max(0.0, began - first.at) + max(0.0, last.at - ended)
            unseen = max(0.0, first.at - began) + max(0.0, ended - last.at)
            thread_cpu = (max(0.0, spent - outside), min(duration, spent + unseen))
    late = [(look.due, look.at) for look in evidence.looks]
    if evidence.overdue is not None:
        late.append((evidence.overdue, evidence.end.at))
    overlaps = (min(to, ended) - max(due, began) for due, to in late)
    return Measurements(
        duration_s=duration,
        thread_cpu_s=thread_cpu,
        process_cpu_s=process_cpu,
        gc_s=sum(max(0.0, min(to, ended) - max(start, began)) for start, to in evidence.collections),
        late_s=tuple(overlap for overlap in overlaps if overlap > 0),
        looks=len(looks),
        switch_interval_s=sys.getswitchinterval(),
        tick_s=tick_s,
        in_c_call=in_c_call,
        call_waits=call_waits,
    )


def judge(m: Measurements) -> Judgement:
    """Tell why the loop was blocked.

    A mixed block gets the cause with the largest share of the time; the shares are in the evidence.
    """
    evidence: dict[str, float] = {}
    if m.gc_s > 0:
        evidence["event_loop.block.gc_time"] = m.gc_s
    if m.thread_cpu_s is None or m.process_cpu_s is None or m.duration_s < 2 * m.tick_s:
        return Judgement("unknown", None, evidence)
    low, high = m.thread_cpu_s
    cpu = (low + high) / 2
    evidence["event_loop.block.cpu_time"] = cpu
    evidence["event_loop.block.process_cpu_time"] = m.process_cpu_s
    late = sum(m.late_s)
    evidence["event_loop.block.watchdog_lateness"] = late
    if not m.late_s and not m.looks:
        return Judgement("unknown", None, evidence)  # nobody looked: the clocks alone cannot name it

    shares = _shares(m, cpu, late)
    cause = max(shares, key=lambda name: shares[name])
    share = shares[cause] / m.duration_s
    if share < 0.9:
        for name, seconds in shares.items():
            if seconds >= 0.05 * m.duration_s:
                evidence[f"event_loop.block.share.{name}"] = min(1.0, seconds / m.duration_s)
    # What the readings leave open must not decide between computing and not computing.
    if low < 0.5 * m.duration_s < high and high - low > 0.4 * m.duration_s:
        return Judgement("unknown", None, evidence)
    return Judgement(cause, _releases_gil(m, late) if cause == "cpu" else None, evidence)


def _shares(m: Measurements, cpu: float, late: float) -> dict[Cause, float]:
    gc_s = min(m.gc_s, m.duration_s)
    computing = max(0.0, cpu - gc_s)
    # Python gives up the GIL within a switch interval; a longer delay is C code that kept it.
    long_delays = sum(delay for delay in m.late_s if delay >= 1.8 * m.switch_interval_s)
    gil_held = min(computing, long_delays) if computing >= 0.5 * m.duration_s else 0.0
    shares: dict[Cause, float] = {
        "gc": gc_s,
        "gil_held": gil_held,
        "cpu": computing - gil_held,
    }
    idle = max(0.0, m.duration_s - max(cpu, gc_s))
    shares[_idle_cause(m, cpu, late)] = idle
    return shares


def _idle_cause(m: Measurements, cpu: float, late: float) -> Cause:
    """Why the loop's thread was not computing: by choice, for the GIL, or for want of a CPU."""
    assert m.process_cpu_s is not None
    if m.call_waits or late < 0.35 * m.duration_s:
        return "wait"
    others = max(0.0, m.process_cpu_s - cpu)
    if others >= 0.4 * m.duration_s:
        return "gil_contention"
    return "descheduled"


def _releases_gil(m: Measurements, late: float) -> bool | None:
    """Whether code that computed left the GIL to others: the watchdog was never late."""
    if not m.in_c_call:
        return False
    if m.looks >= 2 and late < 0.15 * m.duration_s and max(m.late_s, default=0.0) < 0.5 * m.switch_interval_s:
        return True
    return None
