"""What the watchdog and the clocks saw of one callback: plain data, no judgement.

Written by :mod:`otel_loopblock.watchdog`, read by :mod:`otel_loopblock.block`. Times are seconds of
``time.perf_counter`` unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType
from typing import Any, NamedTuple

RawFrame = tuple[CodeType, int, int, str]
"""Code, ``f_lasti``, line number, module name: what survives of a frame without keeping it alive."""


class Reading(NamedTuple):
    """The CPU clocks at one moment."""

    at: float
    thread_cpu: float | None
    """CPU seconds of the loop's thread; ``None`` where the platform cannot tell."""
    process_cpu: float


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


class Evidence(NamedTuple):
    """Everything known of a callback at a moment ``end``."""

    looks: tuple[Look, ...]
    before: Reading | None
    """The last reading before the callback began."""
    end: Reading
    overdue: float | None
    """When the watchdog's next wake-up was due, if it has not happened since."""
    collections: tuple[tuple[float, float], ...]
    """Runs of the garbage collector on the loop's thread, from and to."""


class Watch:
    """The looks at one callback: bounded, thinned out evenly, the first and the last always kept."""

    __slots__ = ("before", "limit", "looks", "skip", "started", "stride")

    def __init__(self, started: float, before: Reading | None, limit: int) -> None:
        self.started = started
        self.before = before
        self.limit = limit
        self.looks: list[Look] = []
        self.stride = 1
        self.skip = 0

    @property
    def wanted(self) -> bool:
        """Whether the next tick shall look; call it once per tick."""
        if self.skip:
            self.skip -= 1
            return False
        self.skip = self.stride - 1
        return True

    def add(self, look: Look) -> None:
        """Keep a look; when there are too many, every second one goes and the pace halves."""
        looks = [*self.looks, look]
        if len(looks) > self.limit:
            # The list is replaced, never changed: the loop's thread may be reading it.
            looks = [*looks[:-1:2], looks[-1]]
            self.stride = min(self.stride * 2, 64)
        self.looks = looks


@dataclass(frozen=True, slots=True)
class Target:
    """What the loop was asked to call: names a block for which no stack is known."""

    callback: Any
    """The callable handed to the loop."""
    task: Any
    """The ``asyncio.Task`` whose step it is, else ``None``."""
