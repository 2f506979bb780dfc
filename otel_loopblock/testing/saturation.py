"""Finds loops that have no rest while a test runs: many short callbacks, none of which is a block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass

from otel_loopblock.clocks import perf_counter
from otel_loopblock.emit.words import milliseconds
from otel_loopblock.explain.sampled import function_of
from otel_loopblock.explain.stack import Stacks
from otel_loopblock.runtime import runtime
from otel_loopblock.testing.builder import advice_table, own_code
from otel_loopblock.watch.load import BusyStretch, Sample
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.target import Target
from otel_loopblock.watch.waits import Wait

MAX_KEPT = 1000
"""Stretches, and samples, kept by one watch."""

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Saturation:
    """A stretch in which a loop had no rest."""

    duration_s: float
    callbacks: int
    """How many ended in it."""
    functions: tuple[tuple[str, float], ...]
    """What filled it, the largest share of the samples first, at most five; empty where none was taken."""
    loop_type: str


class EventLoopSaturated(AssertionError):
    """A loop had no rest for as long as ``saturation_ms`` says."""

    saturations: tuple[Saturation, ...] = ()
    """The stretches, in their order."""

    @classmethod
    def of(cls, saturations: Sequence[Saturation]) -> EventLoopSaturated:
        """Make the exception: a line for each stretch."""
        error = cls("\n".join(map(_line, saturations)))
        error.saturations = tuple(saturations)
        return error


EventLoopSaturated.__module__ = "otel_loopblock.testing"  # as it is imported


class SaturationWatch:
    """Collects the stretches between :meth:`open` and :meth:`close`; a listener.

    Args:
        saturation_s: how long a loop is without a rest that is told of, in seconds.
        threshold_s: callbacks that run at least this long, in seconds, are blocks: they are told to others.
        app_paths: folders of the application's own code.
    """

    heartbeat_interval_s = 0.0
    watchdog = True
    max_samples = 2
    samples = True

    def __init__(self, saturation_s: float, threshold_s: float, app_paths: tuple[str, ...] = ()) -> None:
        self.saturation_s = saturation_s
        self.threshold_s = threshold_s
        self._stacks = Stacks(own_code(app_paths), advice_table().lookup)
        self._entered = 0.0
        self._told: list[tuple[Monitor, BusyStretch]] = []
        self._sampled: list[tuple[Monitor, Sample]] = []

    def open(self) -> None:
        """Begin."""
        self._entered = perf_counter()
        runtime.add(self)

    def close(self) -> list[Saturation]:
        """End; what was found, with what lasts until now."""
        runtime.remove(self)
        found = (self._describe(monitor, stretch) for monitor, stretch in self._told)
        return [each for each in found if each is not None]

    def _describe(self, monitor: Monitor, stretch: BusyStretch) -> Saturation | None:
        since = max(stretch.since, self._entered)
        if stretch.until - since < self.saturation_s:
            return None
        names = Counter(
            function_of(sample, self._stacks) or "unknown"
            for of, sample in self._sampled
            if of is monitor and since <= sample.at <= stretch.until
        )
        total = sum(names.values())
        shares = tuple((name, count / total) for name, count in names.most_common(SHOWN))
        return Saturation(stretch.until - since, stretch.callbacks, shares, monitor.loop_type)

    # -- called by the runtime --------------------------------------------------------------------

    def loop_waited(self, monitor: Monitor, wait: Wait) -> None:
        """Nothing: a loop that waits is not full."""

    def loop_full(self, monitor: Monitor, stretch: BusyStretch) -> None:
        """Keep a stretch that is over."""
        if stretch.over and len(self._told) < MAX_KEPT:
            self._told.append((monitor, stretch))

    def loop_sampled(self, monitor: Monitor, samples: Sequence[Sample]) -> None:
        """Keep the latest, and nothing of the application's with them."""
        self._sampled.extend((monitor, sample._replace(value=None)) for sample in samples)
        del self._sampled[:-MAX_KEPT]

    def callback_blocked(
        self, monitor: Monitor, started: float, ended: float, target: Target, context: Context | None
    ) -> None:
        """Nothing: blocks are told to others."""

    def callback_running(self, monitor: Monitor, started: float, now: float) -> None:
        """Nothing."""

    def lag_measured(self, monitor: Monitor, lag_s: float) -> None:
        """Nothing."""


def _line(saturation: Saturation) -> str:
    what = ", ".join(f"{100 * share:.0f} % {name}" for name, share in saturation.functions)
    return (
        f"the event loop was saturated for {milliseconds(saturation.duration_s)} by {saturation.callbacks} "
        f"callbacks: {what or 'no sample tells by what'}"
    )
