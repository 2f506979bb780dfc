"""What is known of a loop without a call of the application's code.

A call may have effects, or be one of a mock.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import base_events
from inspect import getattr_static
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType

_OWN = ("asyncio.", "otel_loopblock.hooks.")
"""Modules of the functions that asyncio's loops have: its own, and what we have put in their place."""

_monotonic = time.monotonic


def is_loop(found: object) -> bool:
    """Whether it is a loop by its type: a mock says that it is an instance of anything."""
    return issubclass(type(found), asyncio.AbstractEventLoop)


def is_closed(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop`` is closed."""
    if issubclass(type(loop), asyncio.BaseEventLoop):
        return asyncio.BaseEventLoop.is_closed(loop)  # type: ignore[arg-type]
    return loop.is_closed()


def has_own(loop: asyncio.AbstractEventLoop, name: str) -> bool:
    """Whether a method of ``loop`` is asyncio's or is native; ``True`` where there is none.

    One that stands on the instance, or that somebody has put into a class, is neither.
    """
    method = getattr_static(loop, name, None)
    if type(method) is FunctionType:
        return str(method.__globals__.get("__name__")).startswith(_OWN)
    return method is None or type(method) is MethodDescriptorType or _is_cython(method)


def keeps_real_time(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop.time()`` is sure to follow ``time.monotonic()``.

    A virtual clock is a ``time`` in Python, or a ``time.monotonic`` that was replaced. A ``time`` in Python
    that does follow is not told from these.
    """
    return (
        has_own(loop, "time")
        and time.monotonic is _monotonic
        and type(_monotonic) is BuiltinFunctionType
        and getattr(base_events, "time", None) is time
    )


def _is_cython(method: object) -> bool:
    return type(method).__name__ == "cython_function_or_method"
