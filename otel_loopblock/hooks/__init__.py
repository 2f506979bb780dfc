"""What is put in the way of loops, and taken away again: one file per mechanism.

The functions that run on every callback stand in :mod:`~otel_loopblock.hooks.asyncio` and
:mod:`~otel_loopblock.hooks.uvloop`; they know nothing of OpenTelemetry.
"""

from __future__ import annotations

import asyncio as _asyncio
import contextlib
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_loopblock import guard
from otel_loopblock.hooks import asyncio, gc_pauses, heartbeat, run_forever
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.facts import is_loop
from otel_loopblock.watch.monitor import ATTRIBUTE, Monitor, monitor_of

if TYPE_CHECKING:
    from otel_loopblock.runtime import Registry


_WITH = (("uvloop", "otel_loopblock.hooks.uvloop"),)
"""A module, and the hook that is imported with it: most test suites have no uvloop."""


class Hooks:
    """All hooks of the process: put in place together, taken away together."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._patches: Patches | None = None

    def install(self) -> None:
        """Put the hooks in place. One that cannot be is left out, counted and logged."""
        patches = self._patches = Patches()
        for hook in (asyncio, run_forever, gc_pauses):
            try:
                hook.install(patches, self._registry)
            except Exception:
                guard.failed(f"install {hook.__name__}")
        for module, name in _WITH:
            patches.when_imported(module, self._installs(patches, name))

    def _installs(self, patches: Patches, name: str) -> Callable[[Any], None]:
        def imported(module: Any) -> None:
            import_module(name).install(patches, self._registry, module)

        return imported

    def remove(self) -> None:
        """Put back the very objects that were there."""
        patches, self._patches = self._patches, None
        if patches is not None:
            patches.restore()

    def sees_runs(self, loop: _asyncio.AbstractEventLoop) -> bool:
        """Whether it will be seen when ``loop`` begins to run."""
        return run_forever.sees(loop)

    def beat(self, monitor: Monitor) -> None:
        """See to it that the lag of a loop is measured from now on, whatever thread it runs in."""
        try:
            heartbeat.start_soon(monitor)
        except Exception:
            guard.failed("begin to measure the lag of a loop")

    def leave(self, loop: _asyncio.AbstractEventLoop) -> None:
        """Take from a loop what hooks have left on it."""
        uvloop = sys.modules.get(f"{__name__}.uvloop")
        for name in (ATTRIBUTE, *(uvloop.LOOP_ATTRIBUTES if uvloop is not None else ())):
            with contextlib.suppress(Exception):  # whatever the application says to that
                delattr(loop, name)

    def cover(self, loop: _asyncio.AbstractEventLoop) -> None:
        """See to it that a running loop is monitored from now on; call it on its thread."""
        try:
            if not is_loop(loop) or monitor_of(loop) is not None:
                return
            from otel_loopblock.hooks import (  # here: few listeners come that late
                already_running,
                unhooked,
                uvloop,
            )

            if isinstance(loop, _asyncio.BaseEventLoop):
                asyncio.cover(loop, self._registry)
            elif uvloop.is_hooked(loop):
                uvloop.cover(loop, self._registry)
            else:
                unhooked.cover(loop, self._registry)
                return
            monitor = monitor_of(loop)
            if monitor is not None:
                already_running.follow(loop, monitor)
        except Exception:
            guard.failed("cover a running loop")
