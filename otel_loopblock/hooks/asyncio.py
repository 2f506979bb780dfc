"""asyncio's own loops, and every other loop that runs ``asyncio.Handle`` objects.

Transports of asyncio call their protocols from handles too, so nothing else needs a hook here.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import TYPE_CHECKING, Any

from otel_loopblock import core, guard
from otel_loopblock.hooks import heartbeat
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches

TURNS = 2
"""Until what came during a callback has woken its tasks: in the next turn the loop receives it and calls
those who asked for it, in the one after that run the tasks that these have woken."""


def install(patches: Patches) -> None:
    """Put the core's ``Run`` in the place of ``Handle._run``."""

    def make(original: Callable[[Any], None]) -> Any:
        # With the compiled core there is no frame of ours between the callback and the loop's.
        _learn_caller(original)
        return patches.switch(core.Run(events.Handle, original, loops.table, _ATTACH, TURNS))

    patches.replace("asyncio.events", "Handle._run", make)


def attach(loop: asyncio.AbstractEventLoop) -> Monitor | None:
    """Give a loop its monitor."""
    _learn_caller(getattr(type(loop), "_run_once", None))
    return loops.attach(loop, loop_type(loop))


def _attach(loop: asyncio.AbstractEventLoop) -> Monitor | None:
    # On the loop's thread: it runs a handle, or somebody else does.
    monitor = attach(loop)
    if monitor is not None:
        monitor.enter_thread()
        if asyncio._get_running_loop() is loop:
            heartbeat.start(loop, monitor)
    return monitor


_ATTACH = core.postponing(partial(guard.call, "attach to an asyncio loop", _attach))
"""What the core calls."""


def _learn_caller(function: object) -> None:
    code = getattr(function, "__code__", None)
    if type(code) is CodeType:  # somebody else's wrapper may be no function
        loops.callers.add(code)


def loop_type(loop: asyncio.AbstractEventLoop) -> str:
    """Value of ``event_loop.type``: ``asyncio`` for the standard library's loops, else the class."""
    module = type(loop).__module__
    return "asyncio" if module.partition(".")[0] == "asyncio" else f"{module}.{type(loop).__qualname__}"
