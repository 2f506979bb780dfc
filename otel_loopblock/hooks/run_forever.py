"""Each time a loop begins to run, by whatever way, and stops: ``asyncio.run`` comes by here as well.

A loop that began to run before the hooks came is not seen here, nor one that is run without it
(nest_asyncio).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from otel_loopblock import guard
from otel_loopblock.hooks import heartbeat
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor

Attach = Callable[[Any], "Monitor | None"]
"""Gives a loop its monitor."""


def replace_in(patches: Patches, loop_class: Any, attach: Attach) -> None:
    """Hook the loops of one class.

    Args:
        patches: undo it.
        loop_class: has a ``run_forever``.
        attach: gives them their monitors.
    """
    patches.replace(loop_class, "run_forever", lambda original: _make(original, attach, patches))


def _make(original: Callable[[Any], None], attach: Attach, patches: Patches) -> Callable[[Any], None]:
    def run_forever(self: asyncio.AbstractEventLoop) -> None:
        if patches.active:
            try:
                monitor = loops.of(self) or attach(self)
                if monitor is not None:
                    monitor.begin_run()
                    heartbeat.start(self, monitor)
            except Exception:
                guard.failed("see a loop begin to run")
        try:
            return original(self)
        finally:
            guard.call("see a loop stop", _stopped, self)

    # Loops of uvloop have no frame: this one bounds the stacks of their callbacks.
    loops.callers.add(run_forever.__code__)
    return run_forever


def _stopped(loop: asyncio.AbstractEventLoop) -> None:
    monitor = loops.of(loop)
    if monitor is not None:
        monitor.stopped = 1
        for each in monitor.following:
            each.loop_stopped()
