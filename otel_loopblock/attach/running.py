"""Finds the event loops that run in this process, whatever thread they run in.

Nobody keeps a list of them. A thread that runs a loop has it in a local variable of a function further out:
the loop itself, the ``asyncio.Runner`` of a loop without frames of its own, or the thread whose target is its
method.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from otel_loopblock.frames import MAX_DEPTH, local, looking
from otel_loopblock.watch.facts import is_loop

_RUNNER = getattr(asyncio, "Runner", None)  # from Python 3.11 on


def running_loops() -> dict[asyncio.AbstractEventLoop, int]:
    """The loops that run just now, each with the id of its thread; on any thread but theirs."""
    with looking:
        return _search()


def _search() -> dict[asyncio.AbstractEventLoop, int]:
    found: dict[asyncio.AbstractEventLoop, int] = {}
    here = threading.get_ident()
    for ident, outer in sys._current_frames().items():
        frame: FrameType | None = outer if ident != here else None
        for _ in range(MAX_DEPTH):
            if frame is None:
                break
            for value in _values(frame):
                loop = _loop_of(value)
                # A loop that another thread runs may be a local variable here, too: its own comes first.
                if loop is not None and loop.is_running() and (loop not in found or _runs(frame)):
                    found[loop] = ident
            frame = frame.f_back
    return found


def _runs(frame: FrameType) -> bool:
    """Whether a frame is of what runs loops."""
    return frame.f_code.co_name in ("run_forever", "run_until_complete", "_run_once")


def _values(frame: FrameType) -> Iterator[Any]:
    code = frame.f_code
    if code.co_name == "<module>":
        names: tuple[str, ...] = code.co_names
        yield from (frame.f_globals.get(name) for name in names)
        return
    for name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
        yield local(frame, name)


def _loop_of(value: Any) -> asyncio.AbstractEventLoop | None:
    # By type: an object that pretends to be of another class would run its own code here.
    kind = type(value)
    if issubclass(kind, asyncio.AbstractEventLoop):
        return value if is_loop(value) else None
    if _RUNNER is not None and kind is _RUNNER:
        loop: asyncio.AbstractEventLoop | None = getattr(value, "_loop", None)
        return loop
    if issubclass(kind, threading.Thread):
        owner = getattr(getattr(value, "_target", None), "__self__", None)
        return owner if issubclass(type(owner), asyncio.AbstractEventLoop) else None
    return None
