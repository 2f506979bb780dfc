"""What a loop was asked to call. Annotations are no strings, see :mod:`otel_loopblock.watch.evidence`."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from otel_loopblock import guard


class Target(NamedTuple):
    """What the loop was asked to call: names a block for which no stack is known."""

    callback: Any
    """The callable handed to the loop."""
    task: Any
    """The ``asyncio.Task`` whose step it is, else ``None``."""


def task_of(callback: Callable[..., Any] | None) -> asyncio.Task[Any] | None:
    """The task whose step or wake-up ``callback`` is, as asyncio's own debug output finds it."""
    try:
        owner = getattr(callback, "__self__", None)
        return owner if isinstance(owner, asyncio.Task) else None
    except Exception as error:  # of an object of the application's, as a proxy of nothing raises
        guard.let_through(error)
        return None
