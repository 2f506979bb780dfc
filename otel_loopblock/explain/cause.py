"""Why a callback blocked its loop: a pure function from clock readings to a cause.

The rules rest on measurements on CPython 3.11 to 3.13 (DESIGN.md 4.5): the CPU clock of the loop's
thread tells computing from not computing; how long the watchdog waited for the GIL, whether somebody kept it;
the CPU clocks meanwhile, who. Where the evidence is thin the answer is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from otel_loopblock.explain.measurements import Measurements

Cause = Literal["cpu", "gil_held", "wait", "gil_contention", "gc", "descheduled", "unknown"]
"""Value of ``event_loop.block.cause``."""


_HELD: dict[bool | None, float] = {True: 0.25, False: 0.5, None: 0.8}
"""Share of the computing that must be seen to have kept the GIL, by whether the call is known to."""

THRESHOLD_TICKS = 4
"""Ticks of the watchdog in a threshold."""


class Judgement(NamedTuple):
    """The cause and what it rests on."""

    cause: Cause
    releases_gil: bool | None
    """For ``cpu``: whether the code had released the GIL, so that a thread would help; else ``None``."""
    evidence: Mapping[str, float]
    """Attributes of the event: times in seconds and shares of the block."""
    share: float = 0.0
    """How much of the block has this cause, from 0 to 1; 0 where that cannot be told."""


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
    if not m.looks and m.late_s == 0 and m.stopped_s == 0 and m.untold_s == 0 and not m.queued_s:
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
    return Judgement(cause, _releases_gil(m) if cause == "cpu" else None, evidence, share)


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
    # Nor was the watchdog stopped while others computed: what it lacked then cannot be told.
    untold_s = m.untold_s + m.stopped_s - stopped
    idle_cause = _idle_cause(m, rest, running, cpu, untold_s)
    contended = idle_cause == "gil_contention" and rest >= 0.25 * m.duration_s
    # Computing is one thing until the GIL decides which: neither half must lose to a third cause.
    kept = _HELD[m.call_holds_gil] * computing
    held = (not contended or bool(m.call_holds_gil)) and _of_all(m, m.long_cpu_s) >= kept
    untold = not held and _of_all(m, m.untold_s) >= kept
    shares: dict[Cause, float] = {
        "gc": gc_s,
        "gil_held" if held else "unknown" if untold else "cpu": computing,
        "descheduled": descheduled,
    }
    unwatched = _unwatched(m, rest, idle_cause)
    shares[idle_cause] = shares.get(idle_cause, 0.0) + rest - unwatched
    shares["unknown"] = shares.get("unknown", 0.0) + unwatched
    return shares


def _unwatched(m: Measurements, rest: float, idle_cause: Cause) -> float:
    """Seconds of ``rest`` in which the thread may have had no CPU, as far as anybody knows."""
    assert m.process_cpu_s is not None
    assert m.thread_cpu_s is not None
    others = m.process_cpu_s - sum(m.thread_cpu_s) / 2
    is_known = {"wait": m.call_waits, "gil_held": m.call_holds_gil, "gil_contention": others >= 0.4 * rest}
    if is_known.get(idle_cause, True):
        return 0.0
    return min(rest, max(0.0, m.unwatched_s - 2 * m.tick_s))


def _asked(m: Measurements) -> float:
    """Seconds for which the watchdog's wake-ups stand: it did not ask for the GIL all the time."""
    return m.late_s + m.untold_s + m.stopped_s + m.wake_ups * m.tick_s


def _of_all(m: Measurements, seconds: float) -> float:
    """What was seen in the watchdog's wake-ups, of the whole stretch."""
    asked = _asked(m)
    return seconds * max(1.0, m.duration_s / asked) if asked else 0.0


def _idle_cause(m: Measurements, rest: float, running: float, cpu: float, untold_s: float) -> Cause:
    """Why the loop's thread did not compute though it could have had a CPU: by choice, or for the GIL.

    Args:
        m: what was measured.
        rest: seconds in which it did not compute.
        running: seconds in which the process was not kept from running.
        cpu: seconds in which the thread computed.
        untold_s: seconds that the watchdog was late for what cannot be told.
    """
    assert m.process_cpu_s is not None
    if m.call_waits:
        return "wait"
    others = m.process_cpu_s - cpu
    if m.own_threads is not False and _is_free(m) and rest >= 0.5 * running and others >= 0.7 * rest:
        # Somebody else computed all the time, and needed no GIL: the call's own threads, if it has any.
        return "cpu" if m.own_threads else "unknown"
    if _of_all(m, untold_s) >= 0.35 * running:
        return "unknown"
    if _of_all(m, m.late_s) < 0.35 * running:
        return "wait"
    # A thread that waits for the GIL wakes up at each switch interval; one that waits for data does not.
    waits = rest / m.switch_interval_s
    if others >= 0.4 * running:
        return "gil_contention" if m.runs is None or m.runs >= 0.3 * waits else "wait"
    # The GIL was taken and nobody computed: C code that waits, and keeps it.
    # On a busy machine, though, whoever has the GIL may have no CPU.
    if m.long_late_s == 0.0 or (m.queued_s or 0.0) >= 0.1 * m.duration_s:
        return "unknown"
    # Another thread's code, if this one wanted the GIL all the time. C code may wake up often, too.
    if m.runs is not None and 0.7 * waits <= m.runs <= 1.5 * waits:
        return "gil_contention"
    # Code that can only compute, and hardly did, lacked a CPU. Had it had one, this had been no block.
    is_to_blame = not m.own_threads or cpu >= THRESHOLD_TICKS * m.tick_s
    return "gil_held" if m.in_c_call and is_to_blame else "unknown"  # another thread's, as like as not


def _is_free(m: Measurements) -> bool:
    """Whether the GIL was free to take all the time: the watchdog hardly waited for it."""
    free = m.long_late_s == 0.0 and m.untold_s == 0.0
    return free and m.looks >= 2 and _of_all(m, m.late_s) < 0.15 * m.duration_s


def _releases_gil(m: Measurements) -> bool | None:
    """Whether code that computed left the GIL to others, be it C or a library's mixture of both."""
    if _is_free(m):
        # Python code of the application's own that seems to leave the GIL alone: only on a quiet machine
        # is that an operator of C code (of numpy, say), and not the doing of other processes.
        return True if m.in_call or (m.queued_s or 0.0) < 0.1 * m.duration_s else None
    return None if m.in_c_call or _of_all(m, m.late_s) < 0.35 * m.duration_s else False
