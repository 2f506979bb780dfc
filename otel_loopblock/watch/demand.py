"""What the listeners want when taken together: the lowest threshold decides what is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Protocol

TICKS_TO_SATURATION = 8
SHORTEST_TICK_S = 0.001


class Wants(Protocol):
    """What one listener wants."""

    threshold_s: float
    """Callbacks that run at least this long, in seconds, are reported."""
    heartbeat_interval_s: float
    """How often it wants the lag of each loop measured; 0: not at all."""
    watchdog: bool
    """Whether it wants stacks."""
    max_samples: int
    """How many samples per block it has use for."""
    saturation_s: float
    """How long a loop is without a rest that it wants to know of; 0: not at all."""
    samples: bool
    """Whether it wants to know what loops are busy with."""


class Demand:
    """The sum of it; monitors and hooks read it, :mod:`otel_loopblock.runtime` writes it."""

    __slots__ = (
        "heartbeat_interval_s",
        "is_any",
        "max_samples",
        "samples",
        "saturation_s",
        "threshold_s",
        "tick_s",
        "variable",
        "watching",
    )

    def __init__(self) -> None:
        self.is_any = False
        """Whether there is a listener."""
        self.threshold_s = 0.01
        self.tick_s = 0.0025
        """Seconds between two looks at what loops do. A quarter of the threshold: a block of 12 ms at a
        threshold of 10 ms must be looked at although Python code keeps the GIL for a switch interval (5
        ms)."""
        self.heartbeat_interval_s = 0.0
        self.max_samples = 2
        self.watching = False
        """Whether one wants stacks."""
        self.saturation_s = 0.0
        self.samples = False
        self.variable: ContextVar[Any] | None = None
        """Its value in the running callback is part of each sample; whoever wants it sets it."""

    def take(self, wants: Sequence[Wants]) -> None:
        """Adopt what these want; where there is none, all but :attr:`is_any` stays as it was."""
        self.is_any = bool(wants)
        if not wants:
            return
        self.threshold_s = min(each.threshold_s for each in wants)
        self.saturation_s = min((each.saturation_s for each in wants if each.saturation_s > 0), default=0.0)
        self.samples = any(each.samples for each in wants)
        self.tick_s = self.threshold_s / 4
        if self.saturation_s:  # whether a loop rests is seen at ticks
            self.tick_s = min(self.tick_s, max(self.saturation_s / TICKS_TO_SATURATION, SHORTEST_TICK_S))
        self.max_samples = max(each.max_samples for each in wants)
        intervals = [each.heartbeat_interval_s for each in wants if each.heartbeat_interval_s > 0]
        self.heartbeat_interval_s = min(intervals, default=0.0)
        self.watching = any(each.watchdog for each in wants)


demand = Demand()
"""The one of this process."""
