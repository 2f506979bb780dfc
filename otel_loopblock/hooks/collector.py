"""Runs of the garbage collector on a loop's thread, from ``gc.callbacks``.

A collection can start anywhere, with any lock held: nothing here may lock, log or emit.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches
    from otel_loopblock.registry import Registry

SHORTEST_S = 0.0005
"""Collections shorter than this cannot explain a block and are not kept; most are of the youngest objects."""


def install(patches: Patches, registry: Registry) -> None:
    """Listen to the collector until the patches are undone."""
    running_loop = asyncio._get_running_loop

    def collecting(phase: str, info: dict[str, Any]) -> None:
        if not patches.active:  # somebody has kept it
            return
        if phase == "start":
            registry.collecting_since = perf_counter()
            return
        started, ended = registry.collecting_since, perf_counter()
        if started and ended - started >= SHORTEST_S:
            monitor = getattr(running_loop(), "_loopblock_monitor", None)
            if monitor is not None:
                monitor.garbage_collected(started, ended)
        registry.collecting_since = 0.0

    def leave() -> None:
        with contextlib.suppress(ValueError):  # somebody has taken it out, or put something around it
            gc.callbacks.remove(collecting)
        registry.collecting_since = 0.0

    gc.callbacks.append(collecting)
    patches.undo_with(leave)
