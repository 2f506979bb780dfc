"""What Linux says of a thread's wait for a CPU, and of the CPU limit of its cgroup.

Elsewhere, or where the kernel does not tell, the answer is ``None``. Nothing is kept open: a descriptor
would be wrong after a fork, and somebody else's after an application has closed "all" of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import lru_cache

from otel_loopblock import guard
from otel_loopblock.watch.evidence import Scheduling, Throttling

_PROC = "/proc/self"
_CGROUPS = "/sys/fs/cgroup"


def scheduling(thread: int) -> Scheduling | None:
    """How long a thread of this process has waited for a CPU, and how often it got one, since it began.

    From ``/proc/self/task/<id>/schedstat``; about 8 us. The GIL is kept meanwhile: to give it up for three
    system calls could cost the caller three switch intervals (15 ms) in a process that computes.

    Args:
        thread: its native id.
    """
    read = _reader()
    if read is None:
        return None
    fields = read(b"%s/task/%d/schedstat" % (_PROC.encode(), thread)).split()
    # All zero where the kernel was built without this.
    if len(fields) != 3 or fields[2] == b"0":
        return None
    return Scheduling(int(fields[1]) / 1e9, int(fields[2]))


@lru_cache(maxsize=1)
def _reader() -> Callable[[bytes], bytes] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes

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


def throttling() -> Throttling | None:
    """How often and for how long this process's cgroup was kept from running by its CPU limit.

    From ``cpu.stat``, of cgroup version 2 or 1; ``None`` where there is no limit to be seen from here, as
    in a container whose limit is set on a group above its own. Gives up the GIL.
    """
    path = _stat_file()
    if path is None:
        return None
    try:
        with open(path) as file:
            fields = dict(line.split(maxsplit=1) for line in file)
        periods = int(fields["nr_throttled"])
        if "throttled_usec" in fields:
            return Throttling(periods, int(fields["throttled_usec"]) / 1e6)
        return Throttling(periods, int(fields["throttled_time"]) / 1e9)
    except (OSError, ValueError, KeyError):
        return None


@lru_cache(maxsize=1)
def _stat_file() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return find_stat_file(f"{_PROC}/cgroup", _CGROUPS)
    except (OSError, ValueError):
        return None
    except Exception:
        guard.failed("find the cgroup")
        return None


def find_stat_file(membership: str, mounted: str) -> str | None:
    """The ``cpu.stat`` that has throttling counters for a process.

    Args:
        membership: path of a ``/proc/<pid>/cgroup``.
        mounted: where the cgroup file systems are.

    Raises:
        OSError: ``membership`` cannot be read.
    """
    with open(membership) as file:
        groups = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, group in groups:
        if "cpu" in controllers.split(","):
            roots = [f"{mounted}/{controllers}", f"{mounted}/cpu"]
        elif not controllers:
            roots = [mounted, f"{mounted}/unified"]
        else:
            continue
        # In a container the path may be the host's, while its own group is what is mounted.
        for root in roots:
            for folder in (root + group.rstrip("/"), root):
                if _has_counters(f"{folder}/cpu.stat"):
                    return f"{folder}/cpu.stat"
    return None


def _has_counters(path: str) -> bool:
    try:
        with open(path) as file:
            return "nr_throttled" in file.read()
    except OSError:
        return False
