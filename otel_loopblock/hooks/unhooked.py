"""A loop that nothing hooks: a callback is posted to it again and again, and must come back in time.

This is coarse (the wait in the queue counts as if one callback had run), and wakes the loop each
quarter of a threshold; it is used only where there is nothing better.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.hooks import heartbeat, uvloop
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.facts import is_loop
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor


def found(loop: Any) -> None:
    """A running loop without a monitor was met; probe it if it is of a kind that no hook sees."""
    try:
        if is_loop(loop) and not isinstance(loop, asyncio.BaseEventLoop) and not uvloop.is_hooked(loop):
            cover(loop)
    except Exception:
        guard.failed("probe a loop")


def cover(loop: asyncio.AbstractEventLoop) -> None:
    """Begin to probe ``loop``; call it on its thread."""
    if not demand.watching or loops.of(loop) is not None:
        return
    kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
    monitor = loops.attach(loop, kind)
    if monitor is None:
        return
    monitor.enter_thread()
    heartbeat.start(loop, monitor)
    measures = demand.heartbeat_interval_s > 0 and not monitor.beating
    monitor.poll = partial(_send, heartbeat.read_clocks(loop) if measures else None)
    loops.waiter.wake()  # no callback of this loop will


def _send(clocks: heartbeat.Clocks | None, monitor: Monitor) -> None:
    # On the watchdog's thread, at each tick: one probe is under way at a time.
    loop = monitor.get_loop()
    if loop is None or monitor.started != 0.0:
        return
    monitor.started = perf_counter()
    try:
        loop.call_soon_threadsafe(guard.call, "probe a loop", _arrived, clocks, monitor)
    except RuntimeError:  # the loop was closed
        monitor.started = 0.0
        monitor.poll = None


def _arrived(clocks: heartbeat.Clocks | None, monitor: Monitor) -> None:
    ended = perf_counter()
    if monitor.started != 0.0 and ended - monitor.started >= monitor.threshold:
        monitor.callback_ended(ended, None, None, 0)
    monitor.started = 0.0
    loop = monitor.get_loop()
    if clocks is not None and loop is not None and heartbeat.start_if_real(loop, monitor, clocks):
        monitor.poll = partial(_send, None)
