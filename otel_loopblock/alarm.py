"""An alarm clock of the kernel (Linux ``timerfd``): any thread sets it, one thread waits for it.

To set it again costs one system call and wakes nobody. Elsewhere than on Linux there is none.

Its descriptor is never read from. An application may close "all" descriptors, and the number be another
file's by then: who polls that takes nothing away from it, who reads does.
"""

from __future__ import annotations

import os
import select
import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

_PERIOD_NS = 3_600_000_021_117
"""An alarm that nobody sets again goes off each hour or so. By this number it is known to be one of ours."""

_CLOCK_MONOTONIC = 1
"""The clock of ``time.perf_counter``."""


class _Kernel(NamedTuple):
    create: Callable[[], int]
    """Makes a descriptor, closed on exec; raises ``OSError``."""
    set: Callable[[int, int, int], tuple[int, int]]
    """Sets that descriptor to go off in so many ns (0: not at all), then at this period; returns the values
    that this replaces; raises ``OSError``."""
    get: Callable[[int], tuple[int, int]]
    """Returns these values of a descriptor; raises ``OSError``."""


class Alarm:
    """One timer.

    Raises:
        OSError: there is none to be had.
    """

    __slots__ = ("_descriptor", "_kernel", "_poll")

    def __init__(self) -> None:
        kernel = _kernel()
        if kernel is None:
            raise OSError("no timerfd on this platform")
        self._kernel = kernel
        self._descriptor = kernel.create()
        kernel.set(self._descriptor, 0, _PERIOD_NS)
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def set(self, seconds: float) -> bool:
        """Have it go off so many seconds from now, and no more at the time that was set before.

        Returns:
            Whether the descriptor is still there. Once it is not, this never is of use again.
        """
        return self._set(max(1, int(seconds * 1e9)))

    def clear(self) -> bool:
        """Have it not go off, nor wake a wait by having gone off already; returns as :meth:`set` does."""
        return self._set(0)

    def wait(self, seconds: float) -> None:
        """Wait, without the GIL, until it has gone off; for one thread, and so many seconds at most."""
        self._poll.poll(seconds * 1000)

    def close(self) -> None:
        """Give the descriptor back, if it is still ours; in a forked child its parent keeps the timer."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            if self._kernel.get(descriptor)[1] == _PERIOD_NS:
                os.close(descriptor)
        except OSError:
            pass  # it has been closed, or is no timer

    def _set(self, initial_ns: int) -> bool:
        descriptor = self._descriptor
        if descriptor < 0:
            return False
        try:
            initial, period = self._kernel.set(descriptor, initial_ns, _PERIOD_NS)
            if period == _PERIOD_NS:
                return True
            self._kernel.set(descriptor, initial, period)  # a timer of the application has got the number
        except OSError:
            pass
        self._descriptor = -1
        return False


@lru_cache(maxsize=1)
def _kernel() -> _Kernel | None:
    if sys.platform != "linux":
        return None
    try:
        import ctypes  # has been imported to read the scheduler's counters

        # It keeps the GIL, unlike CDLL and what is in os since Python 3.13: with these the watchdog
        # might have to wait for the end of a block before it could begin to wait for the alarm.
        libc = ctypes.PyDLL(None, use_errno=True)
        create, settime, gettime = libc.timerfd_create, libc.timerfd_settime, libc.timerfd_gettime
    except (ImportError, OSError, AttributeError):
        return None
    create.argtypes = [ctypes.c_int, ctypes.c_int]
    settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]
    gettime.argtypes = [ctypes.c_int, ctypes.c_void_p]
    pack = struct.Struct("@4l").pack
    itimerspec = ctypes.c_long * 4  # seconds and ns of the period, seconds and ns until it goes off

    def failed() -> OSError:
        number = ctypes.get_errno()
        return OSError(number, os.strerror(number))

    def make() -> int:
        descriptor: int = create(_CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK)
        if descriptor < 0:
            raise failed()
        return descriptor

    def set_(descriptor: int, initial_ns: int, period_ns: int) -> tuple[int, int]:
        new = pack(*divmod(period_ns, 1_000_000_000), *divmod(initial_ns, 1_000_000_000))
        old = itimerspec()
        if settime(descriptor, 0, new, old) != 0:
            raise failed()
        return old[2] * 1_000_000_000 + old[3], old[0] * 1_000_000_000 + old[1]

    def get(descriptor: int) -> tuple[int, int]:
        now = itimerspec()
        if gettime(descriptor, now) != 0:
            raise failed()
        return now[2] * 1_000_000_000 + now[3], now[0] * 1_000_000_000 + now[1]

    return _Kernel(make, set_, get)
