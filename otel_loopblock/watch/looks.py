"""Looks at what a loop is calling right now, from its own thread or from another."""

from __future__ import annotations

from asyncio import current_task
from contextvars import Context

from otel_loopblock import core
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.target import Target, task_of


def running_target(monitor: Monitor) -> Target:
    """What the loop of this thread is calling right now, where that is a task."""
    loop = monitor.get_loop()
    return Target(None, current_task(loop) if loop is not None else None)


def running_elsewhere(monitor: Monitor) -> tuple[Target, Context | None]:
    """What a loop in another thread is calling right now, and the context of its handle on asyncio."""
    target = running_target(monitor)
    callback, context = core.unwrap(monitor.callback), monitor.context
    return Target(callback, task_of(callback)) if target.task is None else target, context
