"""A loop that nothing hooks: rloop's, zuvloop's, any other class than asyncio's and uvloop's.

From Python 3.14 on the compiled core times its callbacks by the switches of the current context, as exactly
as those of a hooked loop: ``core.ContextWatch``.

What runs there without a context of its own, and every callback on older Pythons, is seen by a probe: a
callback that is posted to the loop again and again, and must come back in time. This is coarse (the wait in
the queue counts as if one callback had run), and wakes the loop each quarter of a threshold; it is used only
where there is nothing better.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

from otel_loopblock import core, guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.hooks import already_running, heartbeat, uvloop
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.facts import is_loop
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor

_PART = "probe a loop"


def found(loop: Any) -> None:
    """A running loop without a monitor was met; probe it if it is of a kind that no hook sees."""
    try:
        if is_loop(loop) and not isinstance(loop, asyncio.BaseEventLoop) and not uvloop.is_hooked(loop):
            cover(loop)
    except Exception:
        guard.failed(_PART)


def cover(loop: asyncio.AbstractEventLoop) -> None:
    """Begin to watch ``loop``; call it on its thread."""
    if not demand.watching or loops.of(loop) is not None:
        return
    kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
    monitor = loops.attach(loop, kind)
    if monitor is None:
        return
    monitor.enter_thread()
    monitor.end_start_up()  # nobody tells when it listens: nothing of it is called start-up
    already_running.learn_caller(loop)
    heartbeat.start(loop, monitor)
    measures = demand.heartbeat_interval_s > 0 and not monitor.beating
    probe = _Probe(monitor, heartbeat.read_clocks(loop) if measures else None)
    probe.send(monitor)  # the callback that runs now may block from here on
    monitor.poll = probe.send
    loops.waiter.wake()  # no callback of this loop will


class _Probe:
    """One callback at a time that is under way to the loop, in a context that nothing else runs in."""

    def __init__(self, monitor: Monitor, clocks: heartbeat.Clocks | None) -> None:
        self._clocks = clocks
        """Of an earlier moment; ``None`` where they need not be compared any more."""
        self._context = Context()
        self._sent = 0.0
        """``perf_counter``; 0.0 while none is under way."""
        self._watch = guard.call("watch a loop's contexts", _watch, monitor, self._context)

    def send(self, monitor: Monitor) -> None:
        """Called on the watchdog's thread, at each tick."""
        loop = monitor.get_loop()
        if loop is None:
            return
        if not loop.is_running():  # what is under way comes when it runs again
            self._sent = monitor.started = 0.0
            return
        if self._sent:
            if monitor.started == 0.0:  # since a callback was seen to end it has been in one that is not seen
                monitor.started = max(self._sent, self._watch.ended if self._watch is not None else 0.0)
            return
        self._sent = sent = perf_counter()
        if monitor.started == 0.0:
            monitor.started = sent
        try:
            loop.call_soon_threadsafe(guard.call, _PART, self._arrived, monitor, sent, context=self._context)
        except BaseException as error:
            self._sent = monitor.started = 0.0
            monitor.poll = None
            if not isinstance(error, RuntimeError):  # that one: the loop was closed
                raise

    def _arrived(self, monitor: Monitor, sent: float) -> None:
        if sent != self._sent:  # the loop has been stopped since
            return
        ended = perf_counter()
        if monitor.started != 0.0 and ended - monitor.started >= monitor.threshold:
            monitor.callback_ended(ended, None, None, 0)
        monitor.started = self._sent = 0.0
        loop = monitor.get_loop()
        if loop is None:
            return
        if self._watch is not None:
            self._watch.enter()
        if self._clocks is not None and heartbeat.start_if_real(loop, monitor, self._clocks):
            self._clocks = None


def _watch(monitor: Monitor, context: Context) -> core.ContextWatch | None:
    return core.ContextWatch(monitor, context) if core.ContextWatch is not None else None
