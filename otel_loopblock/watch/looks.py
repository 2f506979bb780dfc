"""Looks at what a loop is calling right now, from its own thread or from another."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from asyncio import current_task
from collections.abc import Container, Sequence
from contextvars import Context
from types import CodeType
from typing import Any

from otel_loopblock import core
from otel_loopblock.naming import is_hook
from otel_loopblock.watch.evidence import RawFrame
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


def context_of(task: asyncio.Task[Any]) -> contextvars.Context | None:
    """The context that a task runs in, looked for from another thread."""
    # Task.get_context() is there from 3.12 on; what a C task refers to can be asked on all.
    for referent in gc.get_referents(task):
        if isinstance(referent, contextvars.Context):
            return referent
    return None


def cut(stack: Sequence[RawFrame], callers: Container[CodeType]) -> tuple[int, int, bool]:
    """Which frames of a stack are the callback's.

    Args:
        stack: innermost first.
        callers: what runs callbacks: outside it is the loop.

    Returns:
        The index of the innermost one, that of the first one outside, and whether frames of ours that a line
        has called were left out: such are nobody's culprit.
    """
    hooked = False
    first = 0
    while first < len(stack) - 1 and is_hook(stack[first][3]) and stack[first][0] not in callers:
        hooked |= stack[first][3] != _COLLECTOR  # that one was called by no line
        first += 1
    last = next((at for at in range(first, len(stack)) if stack[at][0] in callers), len(stack))
    return first, last, hooked


_COLLECTOR = "otel_loopblock.hooks.gc_pauses"
