"""Runs of the garbage collector on a loop's thread, from ``gc.callbacks``.

A collection can start anywhere, with any lock held: nothing here may lock, log, emit or raise, nor call the
application's code. The clock is the one that was there at first: what is put in its place may do anything.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from otel_loopblock import core, guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.collecting import collecting
from otel_loopblock.watch.loops import loops

SHORTEST_S = 0.0005
"""Collections shorter than this cannot explain a block and are not kept; most are of the youngest objects."""


def install(patches: Patches) -> None:
    """Listen to the collector until the patches are undone."""
    now, running_loop = perf_counter, asyncio._get_running_loop

    def collected(phase: str, info: dict[str, Any]) -> None:
        try:
            if not patches.active:  # somebody has kept it
                return
            if phase == "start":
                collecting.since = now()
                return
            started, ended = collecting.since, now()
            collecting.since = 0.0
            if started and ended - started >= SHORTEST_S:
                monitor = loops.of(running_loop())
                if monitor is not None:
                    monitor.garbage_collected(started, ended)
        except Exception as error:  # not even counted: that may log, and lock
            collecting.since = 0.0
            guard.let_through(error)

    collecting.since = 0.0
    patches.add_to(gc.callbacks, core.postponing(collected))
