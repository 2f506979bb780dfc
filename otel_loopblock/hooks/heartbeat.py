"""The heartbeat: a timer on the loop itself, whose lateness is the loop's lag.

Many short callbacks in a row block nobody for a threshold and still make everything late; only a
timer sees that.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextvars import Context
from time import perf_counter

from otel_loopblock import guard
from otel_loopblock.monitor import ATTRIBUTE, Monitor


def start(loop: asyncio.AbstractEventLoop, monitor: Monitor) -> None:
    """Begin to measure, unless that was begun or nobody wants it; call it on the loop's thread."""
    interval = monitor.registry.heartbeat_interval_s
    if interval > 0 and not monitor.beating:
        monitor.beating = True
        # Of an empty context: a beat is no work of a request that happened to be the first to run.
        loop.call_later(interval, _beat, monitor, perf_counter() + interval, context=Context())


def start_soon(monitor: Monitor) -> None:
    """Have measuring begin on a loop that has its monitor already; from any thread."""
    loop = monitor.loop()
    if loop is not None and not monitor.beating:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(start, loop, monitor, context=Context())


def _beat(monitor: Monitor, due: float) -> None:
    try:
        registry = monitor.registry
        loop = monitor.loop()
        interval = registry.heartbeat_interval_s
        # A monitor that its loop does not carry any more was detached: uninstrumented, or forked.
        if (
            loop is None
            or interval <= 0
            or not registry.listeners
            or getattr(loop, ATTRIBUTE, None) is not monitor
        ):
            monitor.beating = False
            return
        now = perf_counter()
        if threading.get_ident() != monitor.thread_id:
            monitor.enter_thread()
        for listener in registry.listeners:
            listener.lag_measured(monitor, max(0.0, now - due))
        loop.call_later(interval, _beat, monitor, now + interval)
    except Exception:
        guard.failed("measure the lag of a loop")
