"""Each time a loop begins to run, by whatever way: ``asyncio.run`` and ``run_until_complete`` come by here.

Loops that have a ``run_forever`` of their own, or are run without it (nest_asyncio), are not seen here: the
watchdog looks at these all the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any

from otel_loopblock import guard
from otel_loopblock.watch.monitor import monitor_of

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches
    from otel_loopblock.runtime import Registry

_SEES = "_loopblock_sees_runs"


def install(patches: Patches, registry: Registry) -> None:
    """Hook asyncio's loops, and uvloop's now or when it is imported."""

    def make(original: Callable[[Any], None]) -> Callable[[Any], None]:
        return _make_run_forever(original, registry, patches)

    patches.replace("asyncio.base_events", "BaseEventLoop.run_forever", make)
    patches.when_imported("uvloop", lambda uvloop: patches.replace(uvloop.Loop, "run_forever", make))


def sees(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this loop will be seen here when it begins to run."""
    patches: Patches | None = getattr(getattr(loop, "run_forever", None), _SEES, None)
    return patches is not None and patches.active


def _make_run_forever(
    original: Callable[[Any], None], registry: Registry, patches: Patches
) -> Callable[[Any], None]:
    # A test of a suite comes by here several times: nothing is called that need not be each time.
    runs, succeed = registry.watchdog.runs, registry.succeed
    began = runs.began

    def run_forever(self: Any) -> None:
        if not patches.active:
            return original(self)
        try:
            began[id(self)] = now = perf_counter()
            if now >= runs.put_off_from:
                runs.put_off(now)
            monitor = monitor_of(self)
            if monitor is None:
                succeed(self, now)
            elif now >= monitor.stale_from or monitor.thread_id != get_ident():
                monitor.begin_run(now)
        except Exception:
            guard.failed("see a loop begin to run")
        try:
            return original(self)
        finally:
            began.pop(id(self), None)

    setattr(run_forever, _SEES, patches)
    return run_forever
