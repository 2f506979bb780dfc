"""How full a loop is, and when a sample of what it does is due: as ``native/load.c`` has it.

Only who has the GIL can look here, so samples are left to whoever waits.
"""

from __future__ import annotations

from random import Random

RESTS, FULL, OVER = 0, 1, 2

_REST = 0.08
"""Share of the time that a full loop may rest."""

_REST_BEFORE, _REST_IN = 0.05, 0.25
"""Rest beyond that, in units of ``saturation_s``, which ends a stretch that is not full yet, or that is."""

TELL_S = 0.5
"""From one time that a full loop is told of to the next."""

Stretch = tuple[int, float, float, float, int]


class Load:
    """The state of one loop; times of ``perf_counter``, seconds in callbacks, number of callbacks."""

    __slots__ = ("at", "busy", "cpu", "fresh", "full", "rest", "runs", "since", "until")

    def __init__(self) -> None:
        self.full = RESTS
        self.at = self.busy = self.cpu = self.rest = self.fresh = 0.0
        self.runs = 0
        self.since: tuple[float, float, int] = (0.0, 0.0, 0)
        self.until: tuple[float, float, int] = (0.0, 0.0, 0)

    def blocked(self, until: float) -> None:
        """A block has ended then; a stretch of nothing but blocks is none of ours."""
        self.fresh = max(self.fresh, until)

    def tick(
        self,
        now: float,
        started: float,
        busy: float,
        runs: int,
        cpu: float,
        saturation_s: float,
        block_s: float,
    ) -> int:
        """One look at the loop; whether it is full.

        Args:
            now: ``perf_counter``.
            started: when the running callback began; 0.0 where none runs.
            busy: seconds in callbacks that have ended.
            runs: how many those are.
            cpu: CPU seconds of the loop's thread; negative: unknown.
            saturation_s: how long a full loop has had nearly no rest.
            block_s: a callback that runs as long is a block.
        """
        if started:
            busy += max(0.0, now - started)
        wall, used, known = now - self.at, busy - self.busy, self.at != 0.0
        if cpu >= 0.0 and self.cpu >= 0.0:
            used = max(used, cpu - self.cpu)
        self.at, self.busy, self.cpu, self.runs = now, busy, cpu, runs
        if not known or self.full == OVER:
            return self._begin()
        self.rest += wall - min(max(0.0, used), wall) - _REST * wall
        if self.rest <= 0.0:
            self.rest = 0.0
            self.until = now, busy, runs
        if self.rest > saturation_s * (_REST_IN if self.full else _REST_BEFORE):
            if not self.full:
                return self._begin()
            self.full = OVER
        elif not self.full:
            if started and now - started >= block_s:
                self.fresh = now
            elif (started or now) - self.fresh >= saturation_s:  # what runs now may be a block yet
                self.full = FULL
        return self.full

    def _begin(self) -> int:
        self.full = RESTS
        self.since = self.until = self.at, self.busy, self.runs
        self.fresh = self.at
        self.rest = 0.0
        return RESTS

    @property
    def stretch(self) -> Stretch:
        """Whether it is full, since and until when, seconds in callbacks, number of callbacks."""
        since, busy, runs = self.since
        until = self.until if self.full == OVER else (self.at, self.busy, self.runs)
        return self.full, since, until[0], until[1] - busy, until[2] - runs


class Slots:
    """When samples are due: one in each slot, at a random moment in it, whatever the loops do."""

    __slots__ = ("_ends", "_random", "due")

    def __init__(self) -> None:
        self.due = 0.0
        self._ends = 0.0
        self._random = Random()

    def next(self, now: float, slot_s: float) -> None:
        """Choose the moment of the next one."""
        if now - self._ends > slot_s:
            self._ends = now  # it slept
        self.due = self._ends + self._random.random() * slot_s
        self._ends += slot_s
