"""The heartbeat: a timer on the loop itself, whose lateness is the loop's lag.

Many short callbacks in a row block nobody for a threshold and still make everything late; only a
timer sees that.

A timer is seen by whoever counts timers, or moves a virtual clock from one to the next, or ends when there
are none. So a loop has one only if its clock and its way to timers are asyncio's own or native: such a loop
runs on without timers. A loop that only the probe sees has one once its clock was seen to follow the real
one.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import NamedTuple

from otel_loopblock import guard
from otel_loopblock.clocks import is_plausible, monotonic, perf_counter
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.facts import has_own, is_clock_real, keeps_real_time
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor, listeners

_PART = "measure the lag of a loop"

_SCHEDULING = ("call_later", "call_at", "run_forever", "_run_once")
"""Methods through which a loop sees its timers."""

MEASURED_S = 0.02
"""How long a clock is compared with the real one."""

TOLERANCE = 0.25
"""By how much of that the two may differ: a loop may keep the time in whole milliseconds."""


class Clocks(NamedTuple):
    """A loop's clock and the real one at the same moment."""

    loop_s: float
    real_s: float


def read_clocks(loop: asyncio.AbstractEventLoop) -> Clocks:
    """Both clocks now."""
    return Clocks(loop.time(), monotonic())


def start(loop: asyncio.AbstractEventLoop, monitor: Monitor) -> None:
    """Begin to measure, unless that was begun or nobody wants it.

    Call it on the thread of a loop that runs or is about to: a handle may be run without a loop.
    """
    if _is_wanted(monitor) and _is_plain(loop):
        try:
            _begin(loop, monitor)
        except RuntimeError as error:  # it is closed, and about to say so
            guard.let_through(error)


def start_if_real(loop: asyncio.AbstractEventLoop, monitor: Monitor, before: Clocks) -> bool:
    """The same on a loop whose methods tell nothing; call it again until it says so.

    Args:
        loop: that one.
        monitor: its monitor.
        before: its clocks at an earlier moment.

    Returns:
        Whether it need not be called again.
    """
    passed_s = monotonic() - before.real_s
    if passed_s < MEASURED_S:
        return False
    now = read_clocks(loop)
    passed_s = now.real_s - before.real_s
    if abs(now.loop_s - before.loop_s - passed_s) <= TOLERANCE * passed_s and _is_wanted(monitor):
        _begin(loop, monitor)
    return True


def start_soon(monitor: Monitor) -> None:
    """Have measuring begin on a loop that has its monitor already; from any thread."""
    loop = monitor.get_loop()
    if loop is not None and _is_wanted(monitor) and _is_plain(loop):
        try:
            loop.call_soon_threadsafe(guard.call, _PART, start, loop, monitor, context=Context())
        except RuntimeError as error:  # the loop was closed meanwhile
            guard.let_through(error)


def _is_wanted(monitor: Monitor) -> bool:
    return demand.heartbeat_interval_s > 0 and not monitor.beating


def _is_plain(loop: asyncio.AbstractEventLoop) -> bool:
    return keeps_real_time(loop) and all(has_own(loop, name) for name in _SCHEDULING)


def _begin(loop: asyncio.AbstractEventLoop, monitor: Monitor) -> None:
    interval = demand.heartbeat_interval_s
    monitor.beating = True
    try:
        # Of an empty context: a beat is no work of a request that happened to be the first to run.
        due = perf_counter() + interval
        loop.call_later(interval, guard.call, _PART, _beat, monitor, due, context=Context())
    except BaseException:
        monitor.beating = False
        raise


def _beat(monitor: Monitor, due: float) -> None:
    goes_on = False
    try:
        loop = monitor.get_loop()
        interval = demand.heartbeat_interval_s
        # One that is not the loop's any more was detached: uninstrumented, or forked.
        if loop is not None and interval > 0 and loops.of(loop) is monitor:
            now = perf_counter()
            if is_clock_real():  # in a frozen one our timer would wait for ever
                loop.call_later(interval, guard.call, _PART, _beat, monitor, now + interval)
                goes_on = True
            monitor.enter_thread()
            monitor.beat(due, now)
            lag_s = max(0.0, now - due)
            for listener in listeners.now if is_plausible(lag_s) else ():
                guard.call(_PART, listener.lag_measured, monitor, lag_s)
    finally:
        monitor.beating = goes_on
