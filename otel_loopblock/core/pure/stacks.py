"""The stack of another thread; no frame object leaves this file."""

from __future__ import annotations

import inspect
import sys
from contextvars import Context
from types import CodeType
from typing import Any

from otel_loopblock.frames import MAX_DEPTH, local, looking

MAX_THREADS = 64

_FUNCTION = inspect.CO_OPTIMIZED | inspect.CO_NEWLOCALS
_MISSING = object()


def threads() -> tuple[int, ...]:
    """The ids of the threads that run Python code, 64 at most."""
    with looking:
        return tuple(sys._current_frames())[:MAX_THREADS]


def thread_context(thread_id: int, /) -> Context | None:
    """The context that a thread runs in: that cannot be seen from Python, so ``None``."""
    return None


def stack(thread_id: int, depth: int) -> tuple[tuple[CodeType, int, int, str], ...] | None:
    """The stack of a thread, innermost frame first: code, instruction, line (0: none), module name of each.

    ``None`` where there is no such thread, or it runs no Python code.
    """
    with looking:
        return _stack(thread_id, depth)


def _stack(thread_id: int, depth: int) -> tuple[tuple[CodeType, int, int, str], ...] | None:
    frame = sys._current_frames().get(thread_id)
    if frame is None:
        return None
    found: list[tuple[CodeType, int, int, str]] = []
    while frame is not None and len(found) < depth:
        module = frame.f_globals.get("__name__")
        found.append(
            (frame.f_code, frame.f_lasti, frame.f_lineno or 0, module if type(module) is str else "")
        )
        frame = frame.f_back
    return tuple(found)


def variable(thread_id: int, code: CodeType, instruction: int, name: str) -> tuple[Any] | None:
    """A local variable of a thread's innermost frame at that instruction of that code, as a tuple of one.

    ``None`` where there is no such frame any more, where it is no function's or has none of that name; up to
    Python 3.12 also where reading it could be seen.
    """
    with looking:
        value = _variable(thread_id, code, instruction, name)
    return (value,) if value is not _MISSING else None


def _variable(thread_id: int, code: CodeType, instruction: int, name: str) -> Any:
    frame = sys._current_frames().get(thread_id)
    for _ in range(MAX_DEPTH):
        if frame is None:
            break
        # It may have gone on since its stack was taken.
        if frame.f_code is code and frame.f_lasti == instruction:
            is_function = code.co_flags & _FUNCTION == _FUNCTION
            return local(frame, name, _MISSING) if is_function else _MISSING
        frame = frame.f_back
    return _MISSING
