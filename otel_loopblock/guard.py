"""Keeps our own errors away from the application: caught, counted, logged once.

Whatever the host calls of ours is guarded there, once, around all of it: that function is nothing but a
``try``, or the host is given :func:`call` to call. Within, a guard stands only where the rest shall go on.
``python -m tests.faults`` makes every function raise, and names those that are such guards.

What is not ours goes on its way: a signal handler of the application may raise in the middle of our code, as
with ``signal.alarm``, and another thread may have an exception raised there.
"""

from __future__ import annotations

import logging
import opcode
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

_logger = logging.getLogger("otel_loopblock")

_VARARGS = 0x04  # inspect.CO_VARARGS

_CANNOT_FAIL = {opcode.opmap[name] for name in ("JUMP_BACKWARD", "RESUME") if name in opcode.opmap}
"""Instructions of Python 3.11 on at which a thread takes signals, and that raise nothing of their own."""

_MADE_UP_BYTES = 8  # PyCode_NewEmpty

failures: Counter[str] = Counter()
"""How often each part of this package has failed in this process, by the name of the part."""

SHOWN = 4
"""Places of a traceback that the line in the log names."""


here = threading.local()
"""Has ``is_ours`` in a thread of ours: nobody else has reason to interrupt it."""


def failed(part: str) -> None:
    """Account for the exception being handled; call it last in an ``except Exception`` block.

    The line in the log says what kind of exception and where. Its text and the lines of source may hold what
    is the application's: they follow at level DEBUG only.

    Args:
        part: what was attempted, in a few constant words; each is logged once per process.

    Raises:
        Exception: that one, where it is not ours.
    """
    let_through(sys.exc_info()[1])
    _count(part)


def let_through(error: BaseException | None) -> None:
    """Raise ``error`` again where it is not ours; call it first where an expected one is caught."""
    if error is not None and is_asynchronous(error):
        raise error


def is_asynchronous(error: BaseException) -> bool:
    """Whether our code was only interrupted: by a signal handler, or by ``PyThreadState_SetAsyncExc``.

    It is for certain where the traceback has the handler's frame, or where nothing can have failed. A handler
    in C and another thread leave no frame: after a call, only what no code of ours raises counts as theirs.
    """
    if getattr(here, "is_ours", False):
        return False
    interrupted: FrameType | None = None
    at, traceback = -1, error.__traceback__
    while traceback is not None:
        if interrupted is not None and _is_handler(traceback.tb_frame, interrupted):
            return True
        interrupted, at, traceback = traceback.tb_frame, traceback.tb_lasti, traceback.tb_next
    if interrupted is None:
        return False
    if at >= 0 and interrupted.f_code.co_code[at] in _CANNOT_FAIL and _is_interpreted(interrupted):
        return True
    if not _is_of_ours(interrupted):
        return False
    # Another thread can only name a class. Python's own errors say what is wrong, and we raise none like it.
    kind = type(error)
    return not error.args and (kind is TimeoutError or kind.__module__ not in ("builtins", "queue", "_queue"))


def _is_handler(frame: FrameType, interrupted: FrameType) -> bool:
    """Whether a frame is that of a signal handler: it gets the number, and the frame that it interrupts."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _VARARGS)
    values: list[object] = [frame.f_locals.get(name) for name in code.co_varnames[:count]]
    for value in values[-1:]:
        if type(value) is tuple:  # of *args
            values.extend(value)
    has_number = any(issubclass(type(value), int) for value in values)
    if has_number and any(value is interrupted for value in values):
        return True
    # It may have walked up from the frame that it was given. None is of ours, and to ask takes long.
    return not _is_of_ours(frame) and code in _handlers()


def _is_interpreted(frame: FrameType) -> bool:
    """Whether its instructions are run: Cython makes frames up for tracebacks, with three of them at most."""
    return len(frame.f_code.co_code) > _MADE_UP_BYTES


def _is_of_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("otel_loopblock.")


def _handlers() -> set[CodeType]:
    """Code of the signal handlers that are set. No object of the application's is asked what may run code."""
    found: set[CodeType] = set()
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        while type(handler) is partial:
            handler = handler.func
        if type(handler) not in (FunctionType, MethodType):
            made = [vars(kind)["__call__"] for kind in type(handler).__mro__ if "__call__" in vars(kind)]
            handler = made[0] if made else None
        if type(handler) is MethodType:
            handler = handler.__func__
        if type(handler) is FunctionType:
            found.add(handler.__code__)
    return found


def note(part: str, why: str) -> None:
    """Account for what failed without an exception.

    Args:
        part: as for :func:`failed`.
        why: the reason, for the log.
    """
    _count(part, f": {why}")


def _count(part: str, why: str = "") -> None:
    try:
        failures[part] += 1
        if failures[part] == 1:
            _logger.warning(
                "otel_loopblock failed to %s%s; the application is not affected, this is logged once%s",
                part,
                why or f" ({_what_and_where()})",
                "" if why else ", its traceback at level DEBUG",
            )
            if not why:
                _logger.debug("otel_loopblock failed to %s", part, exc_info=True)
    except Exception as error:  # a logging handler of the application raised: there is nobody left to tell
        let_through(error)


def _what_and_where() -> str:
    """``KeyError at reports.py:188 < worker.py:92``: innermost first."""
    kind, _, traceback = sys.exc_info()
    places: list[str] = []
    while traceback is not None:
        file = os.path.basename(traceback.tb_frame.f_code.co_filename)
        places.append(f"{_plain(file)}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    name = _plain(kind.__name__) if kind is not None else "no exception"
    return f"{name} at {' < '.join(places[: -SHOWN - 1 : -1])}" if places else name


def _plain(name: str) -> str:
    return name if name.isprintable() and len(name) <= 100 else "?"


def call(part: str, function: Callable[..., Any], *args: Any, otherwise: Any = None) -> Any:
    """Call a function of ours for somebody who must see no error of it.

    Args:
        part: what is attempted, as for :func:`failed`.
        function: what does it.
        *args: its arguments.
        otherwise: returned where it fails.

    Raises:
        Exception: what is not ours, see :func:`failed`.
    """
    try:
        return function(*args)
    except Exception:
        failed(part)
        return otherwise


def call_all(part: str, *functions: Callable[[], object]) -> None:
    """Call all of them, one after the other, whichever fails or is interrupted."""
    not_ours: Exception | None = None
    for function in functions:
        try:
            call(part, function)
        except Exception as error:
            not_ours = error
    if not_ours is not None:
        raise not_ours
