"""Ctrl-C, ``kill`` and a terminal that is closed: one orderly end, whatever runs just then."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_running: list[asyncio.Task[Any]] = []
"""What :func:`run` is waiting for."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first signal into a ``KeyboardInterrupt``; ignore more of them while all is cleaned up."""
    if threading.current_thread() is not threading.main_thread():  # no signals there
        yield
        return
    former = [signal.signal(number, _interrupt) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, former, strict=True):
            signal.signal(number, handler)


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """``asyncio.run`` that ends by cancellation: an exception raised amid a task is logged by asyncio.

    Raises:
        KeyboardInterrupt: a signal came.
    """

    async def cancellable() -> Result:
        task = asyncio.current_task()
        assert task is not None
        _running.append(task)
        try:
            return await coroutine
        finally:
            _running.remove(task)

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _interrupt(number: int, frame: FrameType | None) -> None:
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    if not _running:
        raise KeyboardInterrupt
    task = _running[-1]
    task.get_loop().call_soon_threadsafe(task.cancel)
