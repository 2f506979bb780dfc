"""Clocks of one thread: time on a CPU, and time spent waiting for one.

The second tells a thread that was kept from a CPU by a busy machine from one that waited for the GIL.
Linux counts it per thread (``/proc/thread-self/schedstat``, nanoseconds); elsewhere it is not known.
"""

from __future__ import annotations

import os
import time


class ThreadClock:
    """The clocks of the thread that makes it; use it in that thread only, and close it."""

    def __init__(self) -> None:
        try:
            self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._schedstat = -1
        if self.delay_s() is None:
            self.close()

    def cpu_s(self) -> float:
        """CPU time of this thread so far, in seconds (``time.thread_time``)."""
        return time.thread_time()

    def delay_s(self) -> float | None:
        """Time that this thread was ready to run and had no CPU, in seconds; ``None`` if not known."""
        if self._schedstat < 0:
            return None
        try:
            return int(os.pread(self._schedstat, 128, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return None

    def close(self) -> None:
        """Let go of the file."""
        if self._schedstat >= 0:
            os.close(self._schedstat)
            self._schedstat = -1
