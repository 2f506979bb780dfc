"""What keeps reports within bounds. Metrics are never limited."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

OTHER = "other"
"""Stands for every value beyond the configured number."""


class Rate:
    """At most so many per second, on average; up to one second's worth at once.

    Args:
        per_second: the rate.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._left = self._burst
        self._at = 0.0

    def allows(self, now: float) -> bool:
        """Whether one more may go out at ``now`` (seconds of a monotonic clock)."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Allowance:
    """Seconds that may be spent: so large a share of the time, up to so many at once.

    Args:
        share: from 0 to 1.
        most_s: what there is at first, and after a long time without spending.
    """

    def __init__(self, share: float, most_s: float) -> None:
        self._share = share
        self._most_s = most_s
        self._left_s = most_s
        self._at = 0.0

    def left(self, now: float) -> float:
        """How many there are at ``now`` (seconds of a monotonic clock)."""
        self._left_s = min(self._most_s, self._left_s + max(0.0, now - self._at) * self._share)
        self._at = now
        return self._left_s

    def spend(self, seconds: float) -> None:
        """Take so many, though there may be fewer."""
        self._left_s -= seconds


class Interval:
    """At most one per key in so many seconds; remembers a bounded number of keys."""

    def __init__(self, interval_s: float, max_keys: int = 1000) -> None:
        self._interval_s = interval_s
        self._max_keys = max_keys
        self._last: OrderedDict[Hashable, float] = OrderedDict()

    def allows(self, key: Hashable, now: float) -> bool:
        """Whether ``key`` may go out at ``now`` (seconds of a monotonic clock)."""
        last = self._last.get(key)
        if last is not None and now - last < self._interval_s:
            return False
        self._last[key] = now
        self._last.move_to_end(key)
        if len(self._last) > self._max_keys:
            self._last.popitem(last=False)
        return True


class Distinct:
    """Lets the first so many distinct values through, then says ``other``."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        """``value``, or ``other`` when there are too many already."""
        if value in self._seen:
            return value
        if len(self._seen) >= self._maximum:
            return OTHER
        self._seen.add(value)
        return value
