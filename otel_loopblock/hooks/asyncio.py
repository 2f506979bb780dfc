"""asyncio's own loops, and every other loop that runs ``asyncio.Handle`` objects.

Transports of asyncio call their protocols from handles too, so nothing else needs a hook here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from otel_loopblock import guard
from otel_loopblock.hooks import heartbeat
from otel_loopblock.watch.monitor import Monitor, monitor_of

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches
    from otel_loopblock.runtime import Registry


TURNS = 2
"""Until what came during a callback has woken its tasks: in the next turn the loop receives it and calls
those who asked for it, in the one after that run the tasks that these have woken."""


def install(patches: Patches, registry: Registry) -> None:
    """Put a plain function in the place of ``Handle._run``."""

    def attach(handle: Any) -> Monitor | None:
        try:
            return cover(handle._loop, registry)
        except Exception:
            guard.failed("attach to an asyncio loop")
            return None

    def make(original: Callable[[Any], None]) -> Callable[[Any], None]:
        run = _make_run(original, attach, patches)
        registry.runners.add(run.__code__)
        # A callback that runs already when this is put in place has only asyncio's own frame around it.
        code = getattr(original, "__code__", None)
        if code is not None:  # somebody else's wrapper may be no function
            registry.runners.add(code)
        return run

    patches.replace("asyncio.events", "Handle._run", make)


def cover(loop: asyncio.AbstractEventLoop, registry: Registry) -> Monitor | None:
    """Give a loop its monitor and start its heartbeat; call it on the loop's thread."""
    monitor = monitor_of(loop)
    if monitor is None:
        monitor = registry.attach(loop, loop_type(loop))
        if monitor is None:
            return None
        monitor.enter_thread()
        heartbeat.start(loop, monitor)
        registry.may_succeed(loop, monitor)
    return monitor


def loop_type(loop: asyncio.AbstractEventLoop) -> str:
    """Value of ``event_loop.type``: ``asyncio`` for the standard library's loops, else the class."""
    module = type(loop).__module__
    return "asyncio" if module.partition(".")[0] == "asyncio" else f"{module}.{type(loop).__qualname__}"


def _make_run(
    original: Callable[[Any], None],
    attach: Callable[[Any], Monitor | None],
    patches: Patches,
) -> Callable[[Any], None]:
    # Runs for every callback: names are cells and locals, the monitor is one attribute away, two clock
    # readings and a few comparisons are all that a callback under the threshold pays for. "active" is the
    # slot of an object: the loop cannot tell, its monitor may be that of a wrapper put over this one later.
    kind = Monitor

    def _run(self: Any) -> None:
        if not patches.active:
            return original(self)
        try:
            monitor = self._loop._loopblock_monitor
        except Exception:  # what an attribute that is missing raises is up to the application
            monitor = None
        if type(monitor) is not kind:
            monitor = attach(self)
            if monitor is None:
                try:
                    return original(self)
                finally:
                    del self
        monitor.started = started = perf_counter()
        try:
            return original(self)
        finally:
            ended = perf_counter()
            if ended - monitor.started >= monitor.threshold:
                monitor.callback_ended(ended, self._callback, self._context, TURNS)
            monitor.busy += ended - started
            monitor.started = 0.0
            # The traceback of a task's exception keeps this frame, which would keep the task.
            del self

    return _run
