"""What is known of a loop without a call of the application's code.

A call may have effects, or be one of a mock.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import base_events
from types import BuiltinFunctionType, BuiltinMethodType, FunctionType, MethodDescriptorType, MethodType
from typing import Any

_OWN = ("asyncio.", "otel_loopblock.hooks.")
"""Modules of the functions that asyncio's loops have: its own, and what we have put in their place."""

_CORE = "otel_loopblock.core."
"""What takes the place of a method is a function or of a type in there."""

_monotonic = time.monotonic


def is_loop(found: object) -> bool:
    """Whether it is a loop by its type: a mock says that it is an instance of anything."""
    return issubclass(type(found), asyncio.AbstractEventLoop)


def is_closed(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop`` is closed; one that only code of the application's could tell counts as open."""
    if issubclass(type(loop), asyncio.BaseEventLoop):
        return asyncio.BaseEventLoop.is_closed(loop)  # type: ignore[arg-type]
    method = _method(type(loop), "is_closed")
    return _is_native(method) and bool(method(loop))


def has_own(loop: asyncio.AbstractEventLoop, name: str) -> bool:
    """Whether a method of ``loop`` is asyncio's or is native; ``True`` where its class has none.

    One that stands on the instance, or that somebody has put into a class, is neither. The instance's
    ``__dict__`` is not asked for: from 3.11 on that makes every access to its attributes slower for good.
    """
    kind = type(loop)
    method = _method(kind, name)
    if method is None:
        return True
    if not _is_own(method):
        return False
    if kind.__getattribute__ is not object.__getattribute__:
        return False
    found = getattr(loop, name)  # no code of the application's: it is on the class, or on the instance
    if type(found) is MethodType:
        return found.__func__ is method
    return type(found) is BuiltinMethodType and found.__self__ is loop


def keeps_real_time(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop.time()`` is sure to follow ``time.monotonic()``.

    A virtual clock is a ``time`` in Python, or a ``time.monotonic`` that was replaced. A ``time`` in Python
    that does follow is not told from these.
    """
    return has_own(loop, "time") and is_clock_real()


def is_clock_real() -> bool:
    """Whether nobody has replaced ``time.monotonic``."""
    return (
        time.monotonic is _monotonic
        and type(_monotonic) is BuiltinFunctionType
        and getattr(base_events, "time", None) is time
    )


def _method(kind: type, name: str) -> Any:
    return next((vars(each)[name] for each in kind.__mro__ if name in vars(each)), None)


def _is_own(method: Any) -> bool:
    while _module_of(method).startswith(_CORE):  # ours: what counts is what it has replaced
        method = method.__wrapped__
    if type(method) is FunctionType:
        return _module_of(method).startswith(_OWN)
    return _is_native(method)


def _module_of(method: Any) -> str:
    """Where a function was defined, or the type of what is none."""
    return str(
        method.__globals__.get("__name__") if type(method) is FunctionType else type(method).__module__
    )


def _is_native(method: object) -> bool:
    return type(method) is MethodDescriptorType or type(method).__name__ == "cython_function_or_method"
