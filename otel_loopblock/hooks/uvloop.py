"""uvloop: its handles are C and never call ``Handle._run``; attributes set on ``uvloop.Loop`` are honoured.

Each scheduling method is replaced by the core's ``Scheduler``, which puts an object that is timed in the
place of the callback. Transports call their protocols straight from libuv, without a handle;
:mod:`~otel_loopblock.hooks.protocols` takes care of those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from otel_loopblock import core, guard
from otel_loopblock.hooks import already_running, heartbeat, protocols
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches

# Turns until what came during a callback has woken its tasks. In a turn the loop first runs its queue, then
# receives, then runs timers: after a callback from the queue it is received in the same turn.
TURNS = 1
TURNS_DIRECT = 2

_SCHEDULING = (
    ("call_soon", 1, TURNS),
    ("call_soon_threadsafe", 1, TURNS),
    ("call_later", 2, TURNS_DIRECT),
    ("call_at", 2, TURNS_DIRECT),
    ("add_reader", 2, TURNS_DIRECT),
    ("add_writer", 2, TURNS_DIRECT),
    ("add_signal_handler", 2, TURNS_DIRECT),
)
"""Methods, where the callback stands among their arguments, and its turns: timers, readers and writers are
called by libuv directly."""

_schedulers: WeakSet[Any] = WeakSet()
"""What has been put in the place of uvloop's methods."""


def install(patches: Patches, uvloop: Any) -> None:
    """Hook ``uvloop.Loop``.

    Args:
        patches: undo it.
        uvloop: the module.
    """
    for name, position, turns in _SCHEDULING:
        patches.replace(uvloop.Loop, name, partial(_make_scheduler, patches, position, turns))
    protocols.install(patches, uvloop.Loop)


def _make_scheduler(patches: Patches, position: int, turns: int, original: Callable[..., Any]) -> Any:
    scheduler = patches.switch(core.Scheduler(original, position, loops.table, _ATTACH, turns))
    _schedulers.add(scheduler)
    return scheduler


def is_hooked(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop`` is one whose scheduling methods are ours."""
    # Not by a mark: whoever wraps a function copies its attributes.
    method = getattr(type(loop), "call_soon", None)
    return method is not None and method in _schedulers and method.active


def attach(loop: asyncio.AbstractEventLoop) -> Monitor | None:
    """Give a loop its monitor; callbacks scheduled from now on are timed. From any thread."""
    return loops.attach(loop, "uvloop")


def _attach(loop: asyncio.AbstractEventLoop) -> Monitor | None:
    # Whoever schedules may do so from any thread, before the loop runs.
    monitor = attach(loop)
    if monitor is None:
        return None
    if asyncio._get_running_loop() is loop:
        _enter(loop, monitor)
    elif loop.is_running():
        loop.call_soon_threadsafe(guard.call, _PART, _enter, loop, monitor, context=Context())
    return monitor


_PART = "attach to a uvloop loop"
_ATTACH = core.postponing(partial(guard.call, _PART, _attach))
"""What the core calls."""


def _enter(loop: asyncio.AbstractEventLoop, monitor: Monitor) -> None:
    """Learn of a loop that ran before the hooks came what else its ``run_forever`` tells; on its thread."""
    monitor.enter_thread()
    already_running.learn_caller(loop)
    heartbeat.start(loop, monitor)
