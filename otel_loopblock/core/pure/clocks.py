"""What the kernel tells of a thread: its CPU time, and how long it could have run but had no CPU."""

from __future__ import annotations

import os
import sys
import time
from _thread import get_ident
from collections.abc import Callable
from functools import lru_cache


def thread_clock() -> int | None:
    """The CPU clock of this thread, for ``time.clock_gettime``; ``None`` where there is none."""
    # Of this thread only: with the id of one that has ended the C library crashes.
    try:
        return time.pthread_getcpuclockid(get_ident())
    except (AttributeError, OSError):
        return None


def scheduling(native_id: int, /) -> tuple[float, int] | None:
    """Seconds a thread of this process could have run but had no CPU, and how often it got one.

    ``None`` where the kernel does not tell. It takes about 8 us and keeps the GIL: to give it up for three
    system calls could cost the caller three switch intervals (15 ms) in a process that computes.
    """
    read = _reader()
    if read is None:
        return None
    fields = read(b"/proc/self/task/%d/schedstat" % native_id).split()
    # All zero where the kernel was built without this.
    if len(fields) != 3 or fields[2] == b"0":
        return None
    return int(fields[1]) / 1e9, int(fields[2])


@lru_cache(maxsize=1)
def _reader() -> Callable[[bytes], bytes] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes  # here: it takes as long to import as all the rest

        libc = ctypes.PyDLL(None)  # unlike CDLL it keeps the GIL
        open_, read, close = libc.open, libc.read, libc.close
        open_.argtypes = [ctypes.c_char_p, ctypes.c_int]
        read.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
        read.restype = ctypes.c_ssize_t
        close.argtypes = [ctypes.c_int]
    except (ImportError, OSError, AttributeError):
        return None
    flags = os.O_RDONLY | os.O_CLOEXEC
    # ctypes makes the type anew where nobody keeps it, and that takes twice as long as all the rest here.
    make_buffer = ctypes.c_char * 96

    def contents(path: bytes) -> bytes:
        descriptor = open_(path, flags)
        if descriptor < 0:
            return b""
        buffer = make_buffer()  # one per call: a signal handler may come in between
        size = read(descriptor, buffer, 96)
        close(descriptor)
        return buffer.raw[:size] if size > 0 else b""

    return contents
