"""The rule of DESIGN.md 4.2 once more, as simple as can be: ticks in a row, each charged at most once.

Knows nothing of the package. What it is told was noted by the program itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

THRESHOLD = 5
"""Ticks."""

TICK_NS = 1_953_125
"""1/512 s: a whole number of nanoseconds, and as seconds in binary exact, so that nothing is rounded."""


@dataclass(frozen=True)
class Ending:
    """A span that ends, in ticks."""

    span: int
    at: int
    wall: int
    """The wall clock then."""
    wall_started: int
    """The span's start, by the wall clock."""
    wall_ended: int
    """The end it has been given, which may be in the past."""


@dataclass(frozen=True)
class Current:
    """The span that is current when a callback ends."""

    span: int
    parent: int | None
    wall_started: int
    wall_ended: int | None
    """``None`` while it is open."""
    records: bool


@dataclass
class Callback:
    """What happened in one callback, in ticks."""

    began: int
    ended: int = 0
    wall: int = 0
    """The wall clock at its end."""
    endings: list[Ending] = field(default_factory=list)
    current: Current | None = None


@dataclass(frozen=True, order=True)
class Report:
    """One that is to be made."""

    form: str
    """``event`` or ``span``."""
    span: int
    """The span with the event, or the parent; 0: none."""
    wall_began: int
    duration: int


def reports(callback: Callback) -> Iterator[Report]:
    """What is to be reported of a callback."""
    free = [True] * (callback.ended - callback.began)

    def runs(since: int, until: int) -> Iterator[tuple[int, int]]:
        """Take what is free between two moments, where it is as long as the threshold."""
        tick = since = max(since, callback.began)
        while tick <= until:
            if tick == until or not free[tick - callback.began]:
                if tick - since >= THRESHOLD:
                    free[since - callback.began : tick - callback.began] = [False] * (tick - since)
                    yield since, tick - since
                since = tick + 1
            tick += 1

    for each in callback.endings:
        wall_ended = min(each.wall_ended, each.wall)
        ended = each.at - (each.wall - wall_ended)
        started = ended - (wall_ended - each.wall_started)
        for since, length in runs(started, ended):
            yield Report("event", each.span, each.wall - (each.at - since), length)
    current = callback.current
    if current is not None and current.records:
        started = callback.ended - (callback.wall - current.wall_started)
        for since, length in runs(started, callback.ended):
            yield Report("event", current.span, callback.wall - (callback.ended - since), length)
    for since, length in runs(callback.began, callback.ended):
        wall_began = callback.wall - (callback.ended - since)
        parent: int | None = None
        if current is not None:
            wall_ended = wall_began + length
            began = max(wall_began, current.wall_started)
            ended = wall_ended if current.wall_ended is None else min(wall_ended, current.wall_ended)
            if ended - began >= THRESHOLD:
                parent, wall_began = current.span, began  # it lies within its parent
            elif current.wall_started > wall_began:
                parent = current.parent  # one that has started since was not the active one
        yield Report("span", parent or 0, wall_began, length)


def blocked_ticks(callbacks: list[Callback]) -> list[int]:
    """How long each of the callbacks took that are to be counted as blocks."""
    return [each.ended - each.began for each in callbacks if each.ended - each.began >= THRESHOLD]
