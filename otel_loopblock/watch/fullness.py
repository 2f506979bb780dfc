"""Tells the listeners of loops that have no rest, and of what fills loops: on the watchdog's thread.

The core finds out whether a loop is full, at the ticks that it makes anyway.
"""

from __future__ import annotations

from otel_loopblock import core, guard
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.load import BusyStretch, Sample
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Listener, Monitor, listeners
from otel_loopblock.watch.samples import SAMPLE_S, Sampler

FULL, OVER = 1, 2
"""What ``Monitor.stretch`` says first."""


class Fullness:
    """Hands out what one watchdog has learned of loops."""

    def __init__(self) -> None:
        self._sampler = Sampler()
        self._full: set[Monitor] = set()

    def begin(self, waiter: core.Waiter) -> None:
        """Have the core look for what the listeners want; before each wait."""
        waiter.saturation_s = demand.saturation_s
        waiter.threshold_s = demand.threshold_s
        waiter.sample_s = SAMPLE_S if demand.samples else 0.0
        waiter.variable = demand.variable

    def look(self, waiter: core.Waiter) -> None:
        """Tell what the core has found, after each wait."""
        if demand.samples:
            self.hand_out(waiter)
        if demand.saturation_s <= 0.0 and not self._full:
            return
        ticked = set(loops.monitors())
        for monitor in ticked | self._full:
            full, since, until, busy_s, callbacks = monitor.stretch
            if full == FULL and monitor in ticked:
                self._full.add(monitor)
            elif full == OVER or monitor in self._full:  # or it was closed
                self._full.discard(monitor)
            else:
                continue
            stretch = BusyStretch(since, until, busy_s, callbacks, monitor not in self._full)
            for listener in listeners.now:
                if listener.saturation_s:
                    guard.call("tell of a full loop", listener.loop_full, monitor, stretch)

    def finish(self, listener: Listener) -> None:
        """Tell one that leaves of the stretches that last until now; any thread."""
        if not listener.saturation_s:
            return
        for monitor in {*loops.monitors(), *self._full}:
            full, since, until, busy_s, callbacks = monitor.stretch
            if full == FULL:
                listener.loop_full(monitor, BusyStretch(since, until, busy_s, callbacks, over=True))

    def forget(self) -> None:
        """Keep no loop: nobody listens any more."""
        self._full.clear()

    def hand_out(self, waiter: core.Waiter) -> None:
        """Hand the samples taken until now to those who want them; any thread."""
        found: dict[Monitor, list[Sample]] = {}
        for monitor, sample in self._sampler.take(waiter):
            found.setdefault(monitor, []).append(sample)
        for monitor, samples in found.items():
            for listener in listeners.now:
                if listener.samples:
                    guard.call("tell of what a loop does", listener.loop_sampled, monitor, samples)
