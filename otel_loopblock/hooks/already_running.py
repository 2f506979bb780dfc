"""The callback that was running already when the hooks came: none of them saw it begin, none will see it end.

Its time counts from then on. A callback queued behind it learns that it has ended, and the watchdog's
samples say until when it was seen; without samples of it nothing is reported.
"""

from __future__ import annotations

import asyncio
import threading
from time import perf_counter
from types import CodeType
from typing import TYPE_CHECKING, Any

from otel_loopblock import guard
from otel_loopblock.watch.monitor import monitor_of
from otel_loopblock.watch.target import Target

if TYPE_CHECKING:
    from otel_loopblock.watch.monitor import Monitor


def follow(loop: asyncio.AbstractEventLoop, monitor: Monitor) -> None:
    """Take the time of the running callback from now on; call it on the loop's thread, once per monitor."""
    if monitor.thread_id != threading.get_ident():
        monitor.enter_thread()
    monitor.started = began = perf_counter()
    loop.call_soon(_passed, monitor, began, monitor.busy, asyncio.current_task(loop))


def _passed(monitor: Monitor, began: float, busy: float, task: asyncio.Task[Any] | None) -> None:
    own = monitor.started
    try:
        loop = monitor.loop()
        code = _outermost_code(task)
        watch = monitor.watch
        if (
            loop is None
            or monitor_of(loop) is not monitor
            or code is None
            or watch is None
            or watch.started != began
        ):
            return
        # Other callbacks may have had their turn since; those that were hooked say how long they took.
        ended = own - (monitor.busy - busy)
        seen = [look for look in watch.looks if any(frame[0] is code for frame in look.frames)]
        if not seen:
            return
        ended = min(ended, seen[-1].at + monitor.registry.watchdog.tick_s * watch.stride)
        if ended - began < monitor.registry.threshold_s:
            return
        monitor.started = began
        monitor.turns = 0  # what waits by now tells nothing of who waited when it ended
        monitor.report(ended, Target(None, task), None)
    except Exception:
        guard.failed("report the callback that the hooks came upon")
    finally:
        monitor.started = own


def _outermost_code(task: asyncio.Task[Any] | None) -> CodeType | None:
    coroutine = task.get_coro() if task is not None else None
    code: CodeType | None = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    return code
