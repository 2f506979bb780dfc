"""What is put in the way of loops, and taken away again: one file per mechanism.

The functions that run on every callback stand in :mod:`~otel_loopblock.hooks.asyncio` and
:mod:`~otel_loopblock.hooks.uvloop`; they know nothing of OpenTelemetry.
"""

from __future__ import annotations

import asyncio as _asyncio
from typing import Any

from otel_loopblock import guard
from otel_loopblock.hooks import asyncio, gc_pauses, heartbeat, listening, run_forever
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.collecting import collecting
from otel_loopblock.watch.facts import is_loop
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor


class Hooks:
    """All hooks of the process: put in place together, taken away together."""

    def __init__(self) -> None:
        self.patches: Patches | None = None
        """Those that are in place."""

    def install(self) -> None:
        """Put the hooks in place. One that cannot be is left out, counted and logged."""
        patches = self.patches = Patches()
        for hook in (asyncio.install, _follow_asyncio, listening.install, gc_pauses.install, _await_uvloop):
            guard.call(f"install {hook.__module__}.{hook.__name__}", hook, patches)

    def remove(self) -> None:
        """Put back the very objects that were there."""
        if self.patches is not None:
            self.patches.restore()
            self.patches = None
            collecting.since = 0.0

    def beat(self, monitor: Monitor) -> None:
        """See to it that the lag of a loop is measured from now on, whatever thread it runs in."""
        try:
            heartbeat.start_soon(monitor)
        except Exception:
            guard.failed("begin to measure the lag of a loop")

    def cover(self, loop: _asyncio.AbstractEventLoop) -> None:
        """See to it that a running loop is monitored from now on; call it on its thread."""
        try:
            if not is_loop(loop) or loops.of(loop) is not None:
                return
            from otel_loopblock.hooks import (  # here: few listeners come that late
                already_running,
                unhooked,
                uvloop,
            )

            if isinstance(loop, _asyncio.BaseEventLoop):
                monitor = asyncio.attach(loop)
            elif uvloop.is_hooked(loop):
                monitor = uvloop.attach(loop)
            else:
                unhooked.cover(loop)
                return
            if monitor is not None:
                already_running.follow(loop, monitor)
                heartbeat.start(loop, monitor)
        except Exception:
            guard.failed("cover a running loop")


def _await_uvloop(patches: Patches) -> None:
    def imported(module: Any) -> None:
        from otel_loopblock.hooks import uvloop  # here: most test suites have none

        uvloop.install(patches, module)
        run_forever.replace_in(patches, module.Loop, uvloop.attach)
        listening.replace_in(patches, module.Loop, "create_server", "create_unix_server")

    patches.when_imported("uvloop", imported)


def _follow_asyncio(patches: Patches) -> None:
    run_forever.replace_in(patches, _asyncio.BaseEventLoop, asyncio.attach)
