"""An alarm clock of the kernel (Linux ``timerfd``): any thread sets it, one thread waits for it.

To set it again costs one system call and wakes nobody. Elsewhere than on Linux there is none.

Its descriptor is never read from. An application may close "all" descriptors, and the number be another
file's by then: who polls that takes nothing away from it, who reads does.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_PERIOD_S, _PERIOD_NS = 3600, 21_117
"""An alarm that nobody sets again goes off each hour or so. These numbers tell that it is one of ours."""

_CLOCK_MONOTONIC = 1
"""The clock of ``time.perf_counter``."""


class _Kernel:
    """The calls of ``timerfd``. They return -1 where they fail; a value is a ``struct itimerspec``."""

    __slots__ = ("create", "gettime", "settime", "value")

    def __init__(self) -> None:
        import ctypes

        # It keeps the GIL, unlike CDLL and what is in os since Python 3.13: with these the watchdog
        # might have to wait for the end of a block before it could begin to wait for the alarm.
        libc = ctypes.PyDLL(None)
        # No argument types: to check them would take longer than to convert what is given.
        self.create: Callable[[int, int], int] = libc.timerfd_create
        """Clock and flags; a descriptor."""
        self.settime: Callable[[int, int, bytes, Any], int] = libc.timerfd_settime
        """Descriptor, flags, new value, room for the one that it replaces or ``None``; 0."""
        self.gettime: Callable[[int, Any], int] = libc.timerfd_gettime
        """Descriptor, room for its value; 0."""
        self.value: Callable[[], Any] = ctypes.c_long * 4
        """Makes such room: seconds and ns of the period, seconds and ns until it goes off."""


class Alarm:
    """One timer.

    Raises:
        OSError: there is none to be had.
    """

    __slots__ = ("_descriptor", "_gettime", "_poll", "_settime", "_value")

    def __init__(self) -> None:
        kernel = _kernel()
        if kernel is None:
            raise OSError("no timerfd on this platform")
        self._settime, self._gettime, self._value = kernel.settime, kernel.gettime, kernel.value
        self._descriptor = kernel.create(_CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0 or self._settime(self._descriptor, 0, _value(None), None) != 0:
            raise OSError("no timerfd to be had")
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def set(self, seconds: float | None) -> bool:
        """Have it go off so many seconds from now, and no more at the time that was set before.

        Args:
            seconds: ``None``: not at all, nor shall it wake a wait by having gone off already.

        Returns:
            Whether the descriptor is still there. Once it is not, this never is of use again.
        """
        # Called every few milliseconds where loops run shortly: nothing more than it takes.
        descriptor = self._descriptor
        if descriptor < 0:
            return False
        before = self._value()
        if self._settime(descriptor, 0, _value(seconds), before) == 0:
            if before[1] == _PERIOD_NS and before[0] == _PERIOD_S:
                return True
            self._settime(descriptor, 0, bytes(before), None)  # the application's timer has got the number
        self._descriptor = -1
        return False

    def wait(self, seconds: float) -> None:
        """Wait, without the GIL, until it has gone off; for one thread, and so many seconds at most."""
        self._poll.poll(seconds * 1000)

    def close(self) -> None:
        """Give the descriptor back, if it is still ours; in a forked child its parent keeps the timer."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._is_ours(descriptor):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _is_ours(self, descriptor: int) -> bool:
        now = self._value()
        return self._gettime(descriptor, now) == 0 and (now[0], now[1]) == (_PERIOD_S, _PERIOD_NS)


@lru_cache(maxsize=16)
def _value(seconds: float | None) -> bytes:
    initial_ns = 0 if seconds is None else max(1, int(seconds * 1e9))
    return struct.pack("@4l", _PERIOD_S, _PERIOD_NS, *divmod(initial_ns, 1_000_000_000))


@lru_cache(maxsize=1)
def _kernel() -> _Kernel | None:
    if sys.platform != "linux":
        return None
    try:
        return _Kernel()
    except (ImportError, OSError, AttributeError):
        return None
