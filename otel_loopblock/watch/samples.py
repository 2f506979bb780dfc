"""How it is learned what loops do at random moments.

The compiled core has the main thread look at its own stack. At a loop in another thread, and with the twin at
any, the watchdog looks once it has the GIL: of short callbacks it sees few, as that is mostly between two.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import Any

from otel_loopblock import core
from otel_loopblock.clocks import perf_counter
from otel_loopblock.watch.endpoint import endpoint_of, find_endpoint
from otel_loopblock.watch.evidence import Endpoint, RawFrame
from otel_loopblock.watch.load import Sample
from otel_loopblock.watch.looks import context_of, cut, running_elsewhere
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor

SAMPLE_S = 1 / 24
"""From one sample of the running callback to the next, on average: at most 25 a second."""

MAX_DEPTH = 200


class Sampler:
    """Takes the samples of one watchdog."""

    def __init__(self) -> None:
        self._busy: dict[int, float] = {}

    def take(self, waiter: core.Waiter) -> list[tuple[Monitor, Sample]]:
        """What was seen since the last time, oldest first; with the GIL, after a wait or at any time."""
        taken = [_from_core(*each) for each in waiter.samples()]
        if waiter.wants_sample:
            taken += self._look(waiter.variable)
        return [each for each in taken if each is not None]

    def _look(self, variable: ContextVar[Any] | None) -> list[tuple[Monitor, Sample] | None]:
        now = perf_counter()
        found: list[tuple[Monitor, Sample] | None] = []
        before, self._busy = self._busy, {}
        for monitor in loops.monitors():
            if monitor.is_main and core.NAME == "native":
                continue
            busy = self._busy[id(monitor)] = monitor.busy
            started = monitor.started
            if started:
                found.append((monitor, _look_at(monitor, started, now, variable)))
            elif busy > before.get(id(monitor), busy):
                found.append((monitor, Sample(now, (), None, None)))
        return found


def _from_core(
    monitor: core.Monitor,
    at: float,
    stack: tuple[RawFrame, ...],
    endpoint: tuple[int, Any, Any] | None,
    value: Any,
) -> tuple[Monitor, Sample] | None:
    if not isinstance(monitor, Monitor):
        return None
    first, last, _ = cut(stack, loops.callers)
    known = None
    if endpoint is not None and first <= endpoint[0] < last:
        function = endpoint_of(endpoint[1], endpoint[2])
        known = Endpoint(function, last - 1 - endpoint[0]) if function is not None else None
    return monitor, Sample(at, stack[first:last][::-1], known, value)


def _look_at(monitor: Monitor, started: float, now: float, variable: ContextVar[Any] | None) -> Sample:
    stack = core.stack(monitor.thread_id, MAX_DEPTH) or ()
    first, last, _ = cut(stack, loops.callers)
    frames = stack[first:last][::-1]
    endpoint = find_endpoint(frames, partial(core.variable, monitor.thread_id))
    value = None
    if variable is not None:
        target, context = running_elsewhere(monitor)
        if context is None and target.task is not None:
            context = context_of(target.task)
        value = context.get(variable) if context is not None else None
    if monitor.started != started:  # the stack may be another callback's
        return Sample(now, (), None, None)
    return Sample(now, frames, endpoint, value)
