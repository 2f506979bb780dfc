"""The probe: a thread that wants the GIL all the time, and notes how late it gets it.

Nothing else tells who holds the GIL: a thread that wakes up from a sleep needs it first. Over a sleep or
C code that released the GIL the probe is on time; over Python code it is late by the switch interval
(5 ms); over C code that keeps the GIL, by what is left of the call.
"""

from __future__ import annotations

import sys
import threading
import time
from time import perf_counter
from typing import NamedTuple

from otel_loopblock.testing.threads.parallelism.clocks import ThreadClock

PAUSE_S = 0.001

TOLERANCE_S = 0.001
"""Timers are late by about 0.1 ms anyway; what counts as late must be shorter than the switch interval."""


class Beat(NamedTuple):
    """One wake-up of the probe, in seconds of ``perf_counter``."""

    asleep: float
    due: float
    woken: float
    delay_s: float
    """How much of the lateness was spent waiting for a CPU; 0 where that is not known."""


class GilProbe:
    """Runs a probe thread inside ``with``; afterwards :meth:`held_share` tells what it saw."""

    def __init__(self) -> None:
        self._beats: list[Beat] = []
        self._stopping = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otel-loopblock-gil-probe", daemon=True)
        self.cpu_s = 0.0
        """CPU time of the probe itself, once it has ended."""

    def __enter__(self) -> GilProbe:
        """Start, and wait until the probe is at work."""
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread."""
        self._stopping = True
        self._thread.join()

    def _run(self) -> None:
        clock = ThreadClock()
        began_cpu = clock.cpu_s()
        beats = self._beats
        tolerance = _tolerance_s()
        delay = clock.delay_s()
        while not self._stopping:
            asleep = perf_counter()
            time.sleep(PAUSE_S)
            woken = perf_counter()
            due = asleep + PAUSE_S
            waited = 0.0
            if woken - due > tolerance and delay is not None:
                # The clock is read for late wake-ups only: reading it gives up the GIL once more.
                now = clock.delay_s()
                if now is not None:
                    waited, delay = now - delay, now
            beats.append(Beat(asleep, due, woken, min(max(0.0, waited), woken - due)))
            if len(beats) == 3:
                self._ready.set()
        self.cpu_s = clock.cpu_s() - began_cpu
        clock.close()

    def held_share(self, start: float, end: float) -> float:
        """Share of the time from ``start`` to ``end`` in which somebody held the GIL, 0 to 1.

        A late wake-up has seen the GIL held from when it was due. While the probe sleeps it sees nothing:
        there the share of wake-ups that were late stands in. Time without a CPU is left out.
        """
        beats = [beat for beat in self._beats if beat.woken > start and beat.due < end]
        if not beats or end <= start:
            return 0.0
        tolerance = _tolerance_s()
        held = delayed = 0.0
        late_beats = 0
        for beat in beats:
            late = min(beat.woken, end) - max(beat.due, start)
            delay = min(beat.delay_s, max(0.0, late))
            delayed += delay
            if late - delay > tolerance:
                held += late - delay
                late_beats += 1
        seen = end - start - delayed
        if seen <= 0:
            return 0.0
        unseen = max(0.0, seen - held)
        return min(1.0, (held + unseen * late_beats / len(beats)) / seen)


def _tolerance_s() -> float:
    return min(TOLERANCE_S, 0.3 * sys.getswitchinterval())
