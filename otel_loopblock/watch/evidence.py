"""What the watchdog and the clocks saw of one callback: plain data, no judgement.

Written by :mod:`otel_loopblock.watch.watchdog`, read by :mod:`otel_loopblock.explain.measurements`. Times are
seconds of ``time.perf_counter`` unless a name says otherwise. Annotations are not strings here:
``NamedTuple`` would compile them one by one, in each process that runs tests.
"""

from types import CodeType
from typing import NamedTuple

MAX_DELAYS = 64
"""Kept per callback."""

LONG_QUEUE_S = 0.002
"""Wait for a CPU, of the loop's thread, from which on the cgroup's counters are worth reading."""

RawFrame = tuple[CodeType, int, int, str]
"""Code, ``f_lasti``, line number, module name: what survives of a frame without keeping it alive."""


class Scheduling(NamedTuple):
    """What the kernel's scheduler counts of a thread (Linux)."""

    queued_s: float
    """Seconds in which it could have run but had no CPU; those in which its cgroup was throttled included."""
    runs: int
    """How often it got a CPU: once after each wait, and after each time it lost the CPU to another."""


class Throttling(NamedTuple):
    """What the kernel counts of a cgroup's CPU limit (Linux)."""

    periods: int
    """Periods in which it was kept from running."""
    throttled_s: float
    """For how long, summed over CPUs."""


class Reading(NamedTuple):
    """The CPU clocks at one moment."""

    at: float
    thread_cpu: float | None
    """CPU seconds of the loop's thread; ``None`` where the platform cannot tell."""
    process_cpu: float
    scheduling: Scheduling | None = None
    """Of the loop's thread; ``None`` where it was not asked or cannot be told."""
    busy: float = 0.0
    """Seconds that the loop had spent in callbacks, the running one left out."""


class Delay(NamedTuple):
    """Late wake-ups of the watchdog, from when the first was due until the last had the GIL: what it lacked.

    What it, or the loop's thread meanwhile, waited for a CPU is in none of these.
    """

    due: float
    at: float
    gil_s: float = 0.0
    """It waited for the GIL."""
    long_s: float = 0.0
    """The part of it in single waits that Python code does not cause: it gives up the GIL in time."""
    long_cpu_s: float = 0.0
    """CPU seconds of the loop's thread in those."""
    stopped_s: float = 0.0
    """It was stopped: neither asleep, nor waiting for a CPU."""
    untold_s: float = 0.0
    """It lacked something, and what cannot be told here."""


class Endpoint(NamedTuple):
    """The function that a web framework has chosen for the request that is being answered."""

    function: RawFrame
    """It runs, or did, or will: its instruction and line are those of its definition."""
    depth: int
    """Index of the innermost frame of the look that knows it: the ones around it serve every request."""


class Look(NamedTuple):
    """One look of the watchdog at a running callback."""

    due: float
    """When the watchdog meant to wake up; ``at - due`` is how late it was."""
    at: float
    thread_cpu: float | None
    process_cpu: float
    frames: tuple[RawFrame, ...]
    """Outermost first, from the callback inwards."""
    call: str | None
    """What the innermost frame calls in C just now; ``None`` where that cannot be told."""
    others: tuple[RawFrame, ...]
    """Innermost frames of the other threads, taken when the watchdog itself came late."""
    scheduling: Scheduling | None = None
    """Of the loop's thread."""
    busy: float = 0.0
    """Seconds that the loop had spent in callbacks, this one left out."""
    endpoint: Endpoint | None = None
    """What answers the request, where a framework says so."""


def queued_between(before: Reading | Look | None, after: Reading) -> float:
    """Seconds that the loop's thread waited for a CPU between two readings; 0.0 where that is not known."""
    if before is None or before.scheduling is None or after.scheduling is None:
        return 0.0
    return max(0.0, after.scheduling.queued_s - before.scheduling.queued_s)


class Evidence(NamedTuple):
    """Everything known of a callback at a moment ``end``."""

    started: float
    """When it began."""
    looks: tuple[Look, ...]
    before: Reading | None
    """The last reading before the callback began."""
    end: Reading
    delays: tuple[Delay, ...]
    """Of the watchdog: all that were worth noting, and the one that lasts."""
    wake_ups: int
    """How often the watchdog woke up to look, in the whole callback."""
    collections: tuple[tuple[float, float], ...]
    """Runs of the garbage collector on the loop's thread, from and to."""
    throttled: Throttling | None = None
    """What was added to the cgroup's counters around the block, where somebody had reason to look."""


class Watch:
    """The looks at one callback: bounded, thinned out evenly, the first and the last always kept."""

    __slots__ = ("before", "delays", "limit", "looks", "started", "throttled", "throttling_due_s", "wake_ups")

    def __init__(self, started: float, before: Reading | None, limit: int) -> None:
        self.started = started
        self.before = before
        self.limit = limit
        self.throttled: Throttling | None = None
        self.throttling_due_s = LONG_QUEUE_S
        """Wait of the loop's thread for a CPU at which the cgroup's counters are read next."""
        self.looks: tuple[Look, ...] = ()
        self.delays: tuple[Delay, ...] = ()
        self.wake_ups = 0

    def add(self, look: Look) -> None:
        """Keep a look; when there are too many, every second one goes."""
        looks = (*self.looks, look)
        # Replaced, never changed: the loop's thread may be reading it.
        self.looks = looks if len(looks) <= self.limit else (*looks[:-1:2], looks[-1])

    def note(self, delay: Delay) -> None:
        """Keep a delay; when there are too many, neighbours are added up."""
        delays = (*self.delays, delay)
        if len(delays) > MAX_DELAYS:
            pairs = zip(delays[::2], delays[1::2], strict=False)
            delays = (*(_sum(*pair) for pair in pairs), *delays[len(delays) // 2 * 2 :])
        self.delays = delays


def _sum(one: Delay, other: Delay) -> Delay:
    return Delay(one.due, other.at, *(a + b for a, b in zip(one[2:], other[2:], strict=True)))
