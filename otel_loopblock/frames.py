"""Looks at frames of running threads without harm to the application.

Two things can go wrong. CPython 3.11 makes a frame object for each frame that is asked for. Making one may
start the garbage collector, whose finalizers may give up the GIL. The other thread runs on, and the new
object points into memory that is gone: the process crashes. :data:`looking` keeps the collector off.

Up to 3.12 ``f_locals`` is a snapshot that stays in the frame and keeps alive what the application has
deleted. :func:`local` takes it out again.

Nothing here may log: a logging handler is somebody else's code.
"""

from __future__ import annotations

import gc
import inspect
import os
import sys
import traceback
from collections.abc import Sequence, Set
from functools import partial
from sys import getrefcount
from threading import RLock
from types import CodeType, FrameType, TracebackType
from typing import Any

from otel_loopblock import guard

MAX_DEPTH = 1000
"""Frames looked through for one that runs a certain code."""


class Looking:
    """The ``with`` block in which frames of other threads are looked at; several threads may be in it.

    From asking for the frames to the last attribute read of one, everything lies within. The block calls a
    function and the frames are locals of that function only, so none outlives it.

    Args:
        collector_off: whether the garbage collector must not run within.
    """

    def __init__(self, *, collector_off: bool) -> None:
        self._collector_off = collector_off
        self._lock = RLock()
        self._count = 0
        self._was_on = False

    def __enter__(self) -> None:
        """Begin to look."""
        if self._collector_off:
            # Nothing is allocated here before the collector is off: it never runs while the lock is held.
            with self._lock:
                # Noted first. A fork, or an exception from a signal, may come between any two of these.
                self._was_on |= gc.isenabled()
                gc.disable()
                self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End it; an error goes on without the frames that its traceback would keep."""
        try:
            if where is not None:
                traceback.clear_frames(where)
        finally:
            if self._collector_off:
                with self._lock:
                    if self._count:  # not in a child that was forked from within
                        self._count -= 1
                    if not self._count and self._was_on:  # by no function, which might fail
                        gc.enable()
                        self._was_on = False

    def forked(self) -> None:
        """In a forked child: whoever else was looking is not there, and may have held the lock."""
        self._lock = RLock()
        self._count = 0
        if self._was_on:
            gc.enable()
            self._was_on = False


looking = Looking(
    # 3.10 has its frame objects anyway; from 3.12 on the collector runs between instructions only.
    collector_off=sys.version_info[:2] == (3, 11)
)
"""The one of this process: ``with looking:``."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        after_in_child=partial(guard.call, "look at frames in a forked child", looking.forked)
    )


def codes_run() -> dict[int, CodeType]:
    """The code that each thread runs, by the thread's id."""
    with looking:
        return {ident: frame.f_code for ident, frame in sys._current_frames().items()}


def locals_in(thread_id: int, codes: Set[CodeType], names: Sequence[str]) -> tuple[Any, ...] | None:
    """Local variables of the innermost frame of a thread that runs one of certain codes.

    Args:
        thread_id: any thread's.
        codes: what the frame runs.
        names: of the variables.

    Returns:
        Their values, ``None`` for one that has none; ``None`` where there is no such frame.
    """
    with looking:
        return _locals_in(thread_id, codes, names)


def _locals_in(thread_id: int, codes: Set[CodeType], names: Sequence[str]) -> tuple[Any, ...] | None:
    frame = sys._current_frames().get(thread_id)
    for _ in range(MAX_DEPTH):
        if frame is None:
            break
        if frame.f_code in codes:
            return tuple(local(frame, name) for name in names)
        frame = frame.f_back
    return None


def module_of(coroutine: Any) -> str | None:
    """The name of the module that a coroutine or generator is written in; ``None`` once it has ended."""
    with looking:
        return _module_of(coroutine)


def _module_of(coroutine: Any) -> str | None:
    frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
    return frame.f_globals.get("__name__", "") if frame is not None else None


_PROXIES = sys.version_info >= (3, 13)
"""Whether ``f_locals`` reads and writes the variables themselves."""

_FUNCTION = inspect.CO_OPTIMIZED | inspect.CO_NEWLOCALS

_SHOW_LOCALS = frozenset({"locals", "vars", "f_locals"})
"""Names in a function that may hold its own snapshot: to read it would change the values there."""

_PYTEST = "@py_builtins"
"""A name in a function whose ``assert`` pytest has rewritten: that uses ``locals`` too, and holds nothing."""

_FRAME_ONLY = 2
"""``getrefcount`` of a snapshot that only its frame holds; the argument is the other reference."""


def local(frame: FrameType, name: str, default: Any = None) -> Any:
    """A local variable of a function's frame, on any thread.

    Up to Python 3.12 it is not read where that could be seen: in the frame of a module or a class; where a
    tracer is at work (what is missing in its snapshot is deleted from the frame); where the function itself,
    or somebody else, has the snapshot.

    Args:
        frame: a running or suspended one.
        name: of the variable.
        default: returned where it has no value or is not read.
    """
    if _PROXIES:
        return frame.f_locals.get(name, default)
    code = frame.f_code
    if code.co_flags & _FUNCTION != _FUNCTION:
        return default
    if not _SHOW_LOCALS.isdisjoint(code.co_names) and _PYTEST not in code.co_names:
        return default
    blank = dict.fromkeys((*code.co_varnames, *code.co_cellvars, *code.co_freevars))
    if name not in blank or frame.f_trace is not None or getrefcount(frame.f_locals) > _FRAME_ONLY:
        return default
    # No call from here on: between calls 3.11 and 3.12 let no other thread run. The names stay, as whoever
    # asks for the snapshot next gets a fresh one anyway.
    snapshot = frame.f_locals
    found = snapshot[name] if name in snapshot else default  # noqa: SIM401
    snapshot |= blank
    return found
