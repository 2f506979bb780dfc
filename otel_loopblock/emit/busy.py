"""``event_loop.busy``: the time in callbacks, by what it went to.

How long loops were busy is known exactly, and what they were busy with from samples. Each collection shares
out the time since the one before among the samples since then; without one it is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from opentelemetry.metrics import Observation
from opentelemetry.semconv.attributes.code_attributes import CODE_FUNCTION_NAME

from otel_loopblock.clocks import perf_counter
from otel_loopblock.emit.attributes import HTTP_ROUTE, LOOP_TYPE
from otel_loopblock.emit.limits import OTHER

if TYPE_CHECKING:
    from otel_loopblock.watch.monitor import Monitor

UNKNOWN = "unknown"
"""Function of what no sample tells."""

MAX_SERIES = 1000
"""Pairs of function and route; what comes beyond is ``other`` for both."""

What = tuple[str, str | None]
"""Function and route, bounded by the caller."""


class Busy:
    """The counter of one meter provider."""

    def __init__(self) -> None:
        self._totals: dict[tuple[str, What], float] = {}
        self._before: dict[Monitor, float] = {}
        self._samples: dict[Monitor, dict[What, int]] = {}
        self._seen: set[What] = set()

    def begin(self, monitors: Iterable[Monitor]) -> None:
        """Count from now on: what these were busy with before is not known."""
        self._samples = {}
        self._before = {monitor: _busy_by(monitor) for monitor in monitors}

    def add(self, monitor: Monitor, function: str | None, route: str | None) -> None:
        """Note a sample of a loop.

        Args:
            monitor: of the loop.
            function: what it was in, bounded by the caller; ``None`` where that is not known.
            route: of the request it worked for, likewise.
        """
        what: What = function or UNKNOWN, route
        if what not in self._seen:
            if len(self._seen) >= MAX_SERIES:
                what = OTHER, OTHER
            self._seen.add(what)
        counts = self._samples.setdefault(monitor, {})
        counts[what] = counts.get(what, 0) + 1

    def observe(self, monitors: Iterable[Monitor]) -> list[Observation]:
        """Seconds until now, by the loop's type, function and route.

        Args:
            monitors: of the loops that are alive.
        """
        samples, self._samples = self._samples, {}  # one that comes just now may be lost
        before, self._before = self._before, {}
        alive = set(monitors)
        for monitor in {*alive, *before, *samples}:  # what has been closed since was busy until then
            busy = _busy_by(monitor)
            self._share_out(monitor, busy - before.get(monitor, 0.0), samples.get(monitor, {}))
            if monitor in alive:
                self._before[monitor] = busy
        return [
            Observation(seconds, _attributes(loop_type, what))
            for (loop_type, what), seconds in self._totals.items()
        ]

    def _share_out(self, monitor: Monitor, seconds: float, counts: dict[What, int]) -> None:
        if seconds <= 0.0:
            return
        total = sum(counts.values())
        for what, count in (counts or {(UNKNOWN, None): 1}).items():
            key = monitor.loop_type, what
            self._totals[key] = self._totals.get(key, 0.0) + seconds * count / (total or 1)


def _busy_by(monitor: Monitor) -> float:
    """Seconds in callbacks, the running one included."""
    busy, started = monitor.busy, monitor.started
    return busy + max(0.0, perf_counter() - started) if started else busy


def _attributes(loop_type: str, what: What) -> dict[str, str]:
    function, route = what
    attributes = {LOOP_TYPE: loop_type, CODE_FUNCTION_NAME: function}
    if route is not None:
        attributes[HTTP_ROUTE] = route
    return attributes
