"""The garbage collector's blocks, which count for no test: how many there were, and the longest.

They say something of a whole run, so no test's report has them. From a worker of pytest-xdist they travel
with what it tells at its end.
"""

from __future__ import annotations

import threading


class Pauses:
    """Adds them up; from any thread."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_s = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float, count: int = 1) -> None:
        """Add so many, the longest of which took so many seconds."""
        with self._lock:
            self.count += count
            self.longest_s = max(self.longest_s, seconds)
