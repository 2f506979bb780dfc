"""Which thread kept the GIL: the one that computed meanwhile, looked at before it runs on.

A thread that is asked for the GIL lets go of it at its next instruction. Whoever gets it then, and looks at
once, finds the line that kept it. Linux only: elsewhere a thread's CPU time cannot be read from outside.
"""

from __future__ import annotations

import sys
import threading
from _thread import get_ident
from contextvars import Context
from functools import partial
from typing import NamedTuple

from otel_loopblock import core
from otel_loopblock.clocks import clock_gettime, perf_counter
from otel_loopblock.naming import called_name, is_ours, line_before
from otel_loopblock.watch.evidence import Look, RawFrame

DEPTH = 200
"""Frames walked."""

LEAST_S = 0.004
"""CPU seconds of a thread that may have kept the GIL."""

LEAST_SHARE = 0.4
"""Of the CPU time of all threads meanwhile: so much must that be. Not of the time for which the GIL was kept:
who kept it may have had no CPU."""

NEXT_SHARE = 0.5
"""Of that thread's CPU time: if another computed as much, it cannot be told which of them kept the GIL."""

AGAIN_S = 0.05
"""Seconds after which a thread has kept the GIL once more, and not again."""

AGAIN_SHARE = 0.25
"""Of the time before: so long may the end of it last."""

GROWS_SHARE = 0.5
"""Of the time of a look: a thread whose CPU time grows so while another has the GIL computes without it."""

_OUR_THREADS = "otel-loopblock"
_LINUX = sys.platform.startswith("linux")


class Keeper(NamedTuple):
    """The thread that kept the GIL."""

    thread_id: int
    thread_name: str
    look: Look
    """Its stack the moment it had let go."""
    context: Context | None
    """What it runs in: that of the request that it works for, if it does for one. ``None`` where that cannot
    be told."""


class Found(NamedTuple):
    """Who took the GIL."""

    keeper: Keeper | None
    """``None`` where it was not one alone."""
    others: tuple[RawFrame, ...] = ()
    """Innermost frames of those who may have."""
    again: bool = False
    """Whether it is the end of something that was told already: the same thread took the GIL again right
    away, for much less. Python frees what a large call has returned, say."""


class _Last(NamedTuple):
    thread_id: int
    ended: float
    kept_s: float


_NEVER = _Last(0, 0.0, 0.0)


class Threads:
    """The CPU time of the threads that run Python code, as it was read last."""

    def __init__(self) -> None:
        self._cpu: dict[int, float] = {}
        self._process_cpu = 0.0
        """CPU seconds of the process when they were read to be fresh."""
        self._last = _NEVER

    def refresh(self, process_cpu: float) -> None:
        """Read them again if the process has computed since for as long as matters: mostly it has not.

        Args:
            process_cpu: CPU seconds of the process.
        """
        if process_cpu - self._process_cpu >= LEAST_S:
            self._process_cpu = process_cpu
            self.read()

    def read(self) -> None:
        """Have what they did until now be no part of what comes; takes about a microsecond per thread."""
        self._cpu = {
            thread.native_id: cpu
            for thread in list(threading._active.values())  # type: ignore[attr-defined]
            if (cpu := _cpu_seconds(thread)) is not None
        }

    def find(self, kept_s: float, computed_s: float, began: float) -> Found:
        """Find who kept the GIL until now; call it on the thread that has just got it.

        Args:
            kept_s: for how long.
            computed_s: CPU seconds of all other threads meanwhile.
            began: ``perf_counter`` when this thread began to want it.
        """
        own = get_ident()
        before, known = self._cpu, dict(threading._active)  # type: ignore[attr-defined]
        spent: list[tuple[float, int, threading.Thread]] = []
        for ident in core.threads():
            thread = known.get(ident)
            if ident == own or thread is None or thread.name.startswith(_OUR_THREADS):
                continue
            cpu = _cpu_seconds(thread)
            if cpu is not None:
                spent.append((cpu - before.get(thread.native_id, 0.0), ident, thread))
        at = perf_counter()
        last, self._last = self._last, _NEVER
        spent.sort(key=lambda each: -each[0])
        if not spent or spent[0][0] < max(LEAST_S, LEAST_SHARE * computed_s):
            return Found(None)
        spent = [each for each in spent[:3] if each[0] >= NEXT_SHARE * spent[0][0]]
        _, ident, thread = spent[0]
        if len(spent) == 1:
            look = _look(ident, began)
            if _computes(spent[0], before, at):
                return Found(None)
            if look is not None:
                again = (
                    last.thread_id == ident
                    and began - last.ended <= AGAIN_S
                    and kept_s <= AGAIN_SHARE * last.kept_s
                )
                self._last = _Last(ident, perf_counter(), last.kept_s if again else kept_s)
                return Found(Keeper(ident, thread.name, look, core.thread_context(ident)), again=again)
        stacks = [core.stack(each[1], 1) for each in spent if not _computes(each, before, at)]
        return Found(None, tuple(_with_line(stack[0]) for stack in stacks if stack))


threads = Threads()
"""Those of this process."""


def _computes(spent: tuple[float, int, threading.Thread], before: dict[int, float], at: float) -> bool:
    """Whether a thread has gone on since it was read: who kept the GIL waits for it by now."""
    seconds, _, thread = spent
    cpu = _cpu_seconds(thread)
    grown_s = cpu - before.get(thread.native_id or 0, 0.0) - seconds if cpu is not None else 0.0
    return grown_s > 0.0 and grown_s >= GROWS_SHARE * (perf_counter() - at)


def _cpu_seconds(thread: threading.Thread) -> float | None:
    native_id = thread.native_id
    if native_id is None or not _LINUX or clock_gettime is None:
        return None
    try:
        # As the C library makes the clock's number, but not from the id of its own, which may be of memory
        # that is gone: the kernel says of a thread that has ended that there is none.
        return clock_gettime((~native_id << 3) | 6)
    except OSError:
        return None


def _look(thread_id: int, due: float) -> Look | None:
    frames = core.stack(thread_id, DEPTH)
    if not frames:
        return None
    code, instruction, _, module = frames[0]
    call = None
    if not is_ours(code):
        call = called_name(code, instruction, module, partial(core.variable, thread_id, code, instruction))
    stack = tuple(map(_with_line, reversed(frames)))
    return Look(due, perf_counter(), None, 0.0, stack, call, ())


def _with_line(frame: RawFrame) -> RawFrame:
    code, instruction, line, module = frame
    return frame if line else (code, instruction, line_before(code, instruction), module)
