"""How full a loop is and what it does: plain data. Times are seconds of ``time.perf_counter``.

Annotations are no strings, see :mod:`otel_loopblock.watch.evidence`.
"""

from typing import Any, NamedTuple

from otel_loopblock.watch.evidence import Endpoint, RawFrame


class BusyStretch(NamedTuple):
    """A loop that had nearly no rest."""

    since: float
    until: float
    """Now, for one that lasts."""
    busy_s: float
    """Seconds in callbacks."""
    callbacks: int
    """How many have ended."""
    over: bool


class Sample(NamedTuple):
    """One look at a loop in a callback."""

    at: float
    frames: tuple[RawFrame, ...]
    """Outermost first, from the callback inwards; empty where it was over before anybody could look."""
    endpoint: Endpoint | None
    """What answers the request, where a framework says so."""
    value: Any
    """Of the context variable that was asked for; ``None`` without one."""
