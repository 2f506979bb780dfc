"""Since when the garbage collector runs; it is one for the process."""

from __future__ import annotations

from collections.abc import Sequence


class Collecting:
    """Written by the hook on the collector, in the middle of anything."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since = 0.0
        """``perf_counter`` when it began; 0.0 while it does not run."""


collecting = Collecting()
"""The one of this process."""


def collected_between(collections: Sequence[tuple[float, float]], began: float, ended: float) -> float:
    """Seconds of runs of the garbage collector, oldest first, that lie between two moments."""
    found = 0.0
    for start, to in reversed(collections):
        if to <= began:
            break
        found += max(0.0, min(to, ended) - max(start, began))
    return found
