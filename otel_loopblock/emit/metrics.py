"""The metrics: names, units and buckets as fixed in DESIGN.md.

Instruments are made once per meter provider and kept: the SDK cannot unregister an observable callback,
and warns about an instrument made twice. The callbacks ask for the emitter that is active *now*.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.semconv.attributes.code_attributes import CODE_FUNCTION_NAME

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.emit import scope
from otel_loopblock.emit.attributes import EXECUTOR_TYPE, LOOP_TYPE
from otel_loopblock.emit.busy import Busy
from otel_loopblock.emit.executors import Pool, pools_of

if TYPE_CHECKING:
    from otel_loopblock.watch.monitor import Monitor

BUCKETS = (0.001, 0.005, 0.010, 0.025, 0.050, 0.100, 0.250, 0.500, 1.0, 2.5, 5.0, 10.0)
"""Seconds; an advisory, so that a View can override them."""

Monitors = Callable[[], Iterable["Monitor"]]
Observe = Callable[[CallbackOptions], Iterable[Observation]]


class Instruments:
    """The instruments of one meter provider."""

    def __init__(self, provider: metrics.MeterProvider | None) -> None:
        meter = scope.meter(provider)
        self.monitors: Monitors = tuple
        """Where the gauges look; nothing is observed while nobody is instrumented."""
        self.take_samples: Callable[[], object] = tuple
        """Has what loops were seen to do until now counted."""
        self.busy = Busy()
        self.threshold_s = 0.0
        """From when on a callback is a block, in seconds."""
        self._hanging: weakref.WeakKeyDictionary[Monitor, tuple[float, str]] = weakref.WeakKeyDictionary()
        self._hung: set[tuple[str, str]] = set()
        self._busy: weakref.WeakKeyDictionary[Monitor, tuple[float, float]] = weakref.WeakKeyDictionary()
        self.lag = meter.create_histogram(
            "event_loop.lag",
            unit="s",
            description="How late a timer on the event loop ran.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self.block_duration = meter.create_histogram(
            "event_loop.block.duration",
            unit="s",
            description="Duration of callbacks that held the event loop for at least the threshold.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self.delay_duration = meter.create_histogram(
            "event_loop.delay.duration",
            unit="s",
            description="How long requests waited at most because another one blocked the event loop.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self.suppressed = meter.create_counter(
            "event_loop.block.suppressed",
            unit="{report}",
            description="Reports of blocks that a rate limit left out.",
        )
        self.saturation_duration = meter.create_histogram(
            "event_loop.saturation.duration",
            unit="s",
            description="Duration of stretches in which the event loop had no rest.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        meter.create_observable_counter(
            "event_loop.busy",
            callbacks=[_guarded("observe what loops are busy with", self._observe_busy)],
            unit="s",
            description="Time in callbacks, by what samples say it went to.",
        )
        meter.create_observable_gauge(
            "event_loop.utilization",
            callbacks=[_guarded("observe the utilization", self._observe_utilization)],
            unit="1",
            description="Share of wall time spent in callbacks since the last collection; the busiest loop.",
        )
        meter.create_observable_gauge(
            "event_loop.block.ongoing",
            callbacks=[_guarded("observe an ongoing block", self._observe_ongoing)],
            unit="s",
            description="How long the callback now running has been over the threshold; 0 when none is.",
        )
        meter.create_observable_up_down_counter(
            "event_loop.executor.threads",
            callbacks=[_guarded("observe the thread pools", self._observe_executor_threads)],
            unit="{thread}",
            description="Threads alive in the thread pools of the event loops, idle ones included.",
        )
        meter.create_observable_up_down_counter(
            "event_loop.executor.queue",
            callbacks=[_guarded("observe the thread pools", self._observe_executor_queue)],
            unit="{call}",
            description="Calls that wait for a thread of the pool.",
        )
        meter.create_observable_gauge(
            "event_loop.executor.utilization",
            callbacks=[_guarded("observe the thread pools", self._observe_executor_utilization)],
            unit="1",
            description="Busy threads per threads that the pool may have; the busiest pool.",
        )

    def hangs(self, monitor: Monitor, started: float, function: str) -> None:
        """Have the ongoing block of a loop show its culprit as well: it may never end.

        Args:
            monitor: of the loop.
            started: ``perf_counter`` at the start of the callback that hangs.
            function: the culprit, bounded by the caller.
        """
        self._hanging[monitor] = started, function
        self._hung.add((monitor.loop_type, function))

    def _observe_busy(self, options: CallbackOptions) -> Iterable[Observation]:
        self.take_samples()
        return self.busy.observe(self.monitors())

    def _observe_utilization(self, options: CallbackOptions) -> Iterable[Observation]:
        now = perf_counter()
        highest: dict[str, float] = {}
        for monitor in self.monitors():
            started = monitor.started
            busy = monitor.busy + (now - started if started != 0.0 else 0.0)
            since, before = self._busy.get(monitor, (0.0, 0.0))
            self._busy[monitor] = (now, busy)
            if since and now > since:
                share = min(1.0, max(0.0, (busy - before) / (now - since)))
                highest[monitor.loop_type] = max(share, highest.get(monitor.loop_type, 0.0))
        return [Observation(share, {LOOP_TYPE: kind}) for kind, share in highest.items()]

    def _observe_ongoing(self, options: CallbackOptions) -> Iterable[Observation]:
        now = perf_counter()
        longest: dict[str, float] = {}
        for monitor in self.monitors():
            started = monitor.started
            age = now - started if started != 0.0 else 0.0
            ongoing = age if age >= self.threshold_s else 0.0
            longest[monitor.loop_type] = max(ongoing, longest.get(monitor.loop_type, 0.0))
        return [
            *(Observation(age, {LOOP_TYPE: kind}) for kind, age in longest.items()),
            *self._observe_hanging(now),
        ]

    def _observe_hanging(self, now: float) -> Iterator[Observation]:
        # 0 for what hung before: a backend would go on showing the last value for minutes.
        ages = dict.fromkeys(self._hung, 0.0)
        alive = set(self.monitors())
        for monitor, (started, function) in list(self._hanging.items()):
            if monitor in alive and monitor.started == started:
                key = monitor.loop_type, function
                ages[key] = max(ages[key], now - started)
        for (loop_type, function), age in ages.items():
            yield Observation(age, {LOOP_TYPE: loop_type, CODE_FUNCTION_NAME: function})

    def _observe_executor_threads(self, options: CallbackOptions) -> Iterable[Observation]:
        return _observations(self._pools(), lambda pools: sum(pool.threads for pool in pools))

    def _observe_executor_queue(self, options: CallbackOptions) -> Iterable[Observation]:
        return _observations(self._pools(), lambda pools: sum(pool.queue for pool in pools))

    def _observe_executor_utilization(self, options: CallbackOptions) -> Iterable[Observation]:
        return _observations(
            self._pools(),
            lambda pools: max((p.utilization for p in pools if p.utilization is not None), default=None),
        )

    def _pools(self) -> dict[tuple[str, str], list[Pool]]:
        """The thread pools of all loops, by the loop's type and the pool's."""
        found: dict[tuple[str, str], list[Pool]] = {}
        for monitor in self.monitors():
            loop = monitor.get_loop()
            for pool in pools_of(loop) if loop is not None else ():
                found.setdefault((monitor.loop_type, pool.kind), []).append(pool)
        return found


def _guarded(part: str, observe: Observe) -> Observe:
    return partial(guard.call, part, observe, otherwise=())


def _observations(
    pools: dict[tuple[str, str], list[Pool]], value_of: Callable[[list[Pool]], float | None]
) -> list[Observation]:
    values = ((kinds, value_of(found)) for kinds, found in pools.items())
    return [
        Observation(value, {LOOP_TYPE: loop_type, EXECUTOR_TYPE: pool_type})
        for (loop_type, pool_type), value in values
        if value is not None
    ]


_of_provider: weakref.WeakKeyDictionary[metrics.MeterProvider, Instruments] = weakref.WeakKeyDictionary()
_of_global: list[Instruments] = []


def instruments(provider: metrics.MeterProvider | None) -> Instruments:
    """The instruments of ``provider``; of the global one, whenever it is set, for ``None``."""
    if provider is None:
        if not _of_global:
            _of_global.append(Instruments(None))
        return _of_global[0]
    found = _of_provider.get(provider)
    if found is None:
        found = _of_provider[provider] = Instruments(provider)
    return found
