"""The callback that was running already when the hooks came: none of them saw it begin, none will see it end.

Its time counts from then on. A callback queued behind it learns that it has ended, and the watchdog's
samples say until when it was seen; without samples of it nothing is reported.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import current_task
from types import CodeType, FrameType
from typing import Any

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.target import Target

_PART = "report the callback that the hooks came upon"


def follow(loop: asyncio.AbstractEventLoop, monitor: Monitor) -> None:
    """Take the time of the running callback from now on; call it on the loop's thread, once per monitor."""
    monitor.enter_thread()
    learn_caller(loop)
    monitor.started = began = perf_counter()
    loop.call_soon(guard.call, _PART, _passed, monitor, began, monitor.busy, current_task(loop))


def learn_caller(loop: asyncio.AbstractEventLoop) -> None:
    """Learn what bounds the stacks of a loop whose beginning was not seen, if a task runs; call it on its
    thread.

    A loop of uvloop has no frame: the one below the task's is of whoever has run it.
    """
    code = _outermost_code(current_task(loop))
    frame: FrameType | None = sys._getframe()
    while code is not None and frame is not None and frame.f_back is not None:
        if frame.f_code is code:
            loops.callers.add(frame.f_back.f_code)
            return
        frame = frame.f_back


def _passed(monitor: Monitor, began: float, busy: float, task: asyncio.Task[Any] | None) -> None:
    own = monitor.started
    try:
        loop = monitor.get_loop()
        code = _outermost_code(task)
        watch = monitor.watch
        if (
            loop is None
            or loops.of(loop) is not monitor
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
        if monitor.looked_at == began:  # it was not seen at the look that was due next
            ended = min(ended, monitor.look_due)
        if ended - began < demand.threshold_s:
            return
        monitor.started = began
        monitor.turns = 0  # what waits by now tells nothing of who waited when it ended
        monitor.report(ended, Target(None, task), None)
    finally:
        monitor.started = own


def _outermost_code(task: asyncio.Task[Any] | None) -> CodeType | None:
    coroutine = task.get_coro() if task is not None else None
    code: CodeType | None = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    return code
