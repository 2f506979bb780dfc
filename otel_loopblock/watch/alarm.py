"""An alarm that is set by writing a number to memory, and waited for without the GIL (Linux with glibc).

The C library's ``lfind`` is the loop, and ``sem_timedwait`` what it calls with one moment after another: it
goes on until as many have passed as a number in memory says, and reads that number each time. So who sets
the alarm makes no system call and wakes nobody, and who waits for it wants the GIL only once it has gone off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import Any

MOMENTS = 64
"""How many moments one wait can have."""

_SEMAPHORE_SIZE = 64
"""Bytes; a ``sem_t`` of glibc has 32, or 16 where pointers have 32 bits."""

_CLOCK_REALTIME = 0
"""The clock of ``sem_timedwait``."""


class _Library:
    """What is called of the C library, and the types of what it is given."""

    __slots__ = (
        "clock",
        "find",
        "init",
        "long",
        "moment_size",
        "number",
        "post",
        "reference",
        "semaphore",
        "timed_wait",
    )

    def __init__(self) -> None:
        import ctypes

        libc, keeps_gil = ctypes.CDLL(None), ctypes.PyDLL(None)
        # musl has an lfind too, but that reads the number once.
        libc.gnu_get_libc_version  # noqa: B018
        pointer = ctypes.c_void_p
        self.find: Callable[[Any, Any, Any, int, Any], Any] = libc.lfind
        """Semaphore, moments, reference to the number, bytes of a moment, :attr:`timed_wait`."""
        libc.lfind.argtypes = [pointer, pointer, pointer, ctypes.c_size_t, pointer]
        libc.lfind.restype = pointer
        self.timed_wait = ctypes.cast(libc.sem_timedwait, pointer)
        self.init: Callable[[Any, int, int], int] = keeps_gil.sem_init
        """Semaphore, 0, 0; 0."""
        self.post: Callable[[Any], int] = keeps_gil.sem_post
        # Not by the time module: what tests put in its place is not what the semaphore waits by.
        self.clock: Callable[[int, Any], int] = keeps_gil.clock_gettime
        """Number of the clock, room for a moment; 0."""
        self.long = ctypes.c_long
        """A moment is two of them: seconds and ns."""
        self.moment_size = 2 * ctypes.sizeof(ctypes.c_long)
        self.number = ctypes.c_size_t
        self.semaphore = ctypes.c_char * _SEMAPHORE_SIZE
        self.reference = ctypes.byref


class Alarm:
    """One alarm.

    Raises:
        OSError: there is none to be had.
    """

    __slots__ = ("_arguments", "_library", "_moments", "_now", "_semaphore", "number")

    def __init__(self) -> None:
        library = _library()
        if library is None:
            raise OSError("no such alarm on this platform")
        self._library = library
        self._semaphore = library.semaphore()
        if library.init(self._semaphore, 0, 0) != 0:
            raise OSError("no semaphore to be had")
        self._now = (library.long * 2)()
        self._moments = (library.long * (2 * MOMENTS))()
        self.number: Any = library.number(0)
        """Its ``value`` is how many moments have passed when it goes off. Any thread writes it at any time,
        never more than there are."""
        number = library.reference(self.number)
        self._arguments = (self._semaphore, self._moments, number, library.moment_size, library.timed_wait)

    def begin(self, step_s: float, count: int) -> float:
        """Lay down the moments of the next wait, and have it go off with the last one.

        Args:
            step_s: seconds until the first moment, and from each to the next.
            count: how many there are, :data:`MOMENTS` at most.

        Returns:
            ``perf_counter`` from when on they are counted; if anything, they come a little earlier.
        """
        self._library.clock(_CLOCK_REALTIME, self._now)
        origin = perf_counter()
        now, step = self._now[0] * 1_000_000_000 + self._now[1], max(1, int(step_s * 1e9))
        self._moments[: 2 * count] = [
            part
            for moment in range(now + step, now + count * step + 1, step)
            for part in divmod(moment, 1_000_000_000)
        ]
        self.number.value = count
        return origin

    def wait(self) -> None:
        """Wait, without the GIL, until it goes off or somebody rings; for one thread.

        A signal that this thread gets counts for a moment, and a ring from before it waited ends it.
        """
        self._library.find(*self._arguments)

    def ring(self) -> None:
        """Have it go off now, or as soon as it is waited for."""
        self._library.post(self._semaphore)


@lru_cache(maxsize=1)
def _library() -> _Library | None:
    if sys.platform != "linux":
        return None
    try:
        return _Library()
    except (ImportError, OSError, AttributeError):
        return None
