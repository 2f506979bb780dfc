"""The watchdog: one daemon thread per process that looks at callbacks while they are long.

It sleeps while no loop runs, or none for longer than a quarter of a threshold
(:mod:`~otel_loopblock.watch.runs`), and starts again in a forked child with the first loop there.
"""

from __future__ import annotations

import sys
import threading
import time
from time import perf_counter
from types import CodeType, FrameType
from typing import TYPE_CHECKING, NamedTuple

from otel_loopblock import guard
from otel_loopblock.frames import looking
from otel_loopblock.naming import called_name, is_hook, is_ours, line_number
from otel_loopblock.signals import block_signals
from otel_loopblock.watch import cgroup
from otel_loopblock.watch.evidence import Look, RawFrame, Reading, Watch, queued_between
from otel_loopblock.watch.lateness import Lateness
from otel_loopblock.watch.runs import BASELINE_TICKS, Runs

if TYPE_CHECKING:
    import asyncio

    from otel_loopblock.runtime import Registry
    from otel_loopblock.watch.monitor import Monitor

STANDSTILL_S = 0.01
"""How often a loop that stands still is asked whether it runs again."""

REST_AFTER_S = 1.0
"""How long all loops must have stood still before the watchdog ticks more slowly, where it is not told when
one begins to run."""

LONG_TICK_S = 0.02
"""A tick longer than this can be interrupted; the sleep of a shorter one costs less."""

MAX_DEPTH = 200
"""Frames walked per look: deeper recursion is cut at the outer end."""

STOP_S = 0.2
"""How long whoever ends the thread waits for it: a look takes less, and a loop may stand still meanwhile."""

RETRY_S = 1.0
"""How long the thread leaves it alone after it could not watch."""

_COLLECTOR = "otel_loopblock.hooks.gc_pauses"

THREAD_NAME = "otel-loopblock-watchdog"


_sleep = time.sleep
"""As it was at import: a test may put a mock in its place."""


class _Life(NamedTuple):
    """One thread. Each has its own sign to end: the start of the next one cannot revive a late one."""

    thread: threading.Thread
    over: threading.Event


class Watchdog:
    """Looks at every monitored loop each ``tick_s`` seconds.

    A tick is a quarter of the threshold: a block of 12 ms at a threshold of 10 ms must be looked at
    although a Python CPU loop keeps the GIL for a switch interval (5 ms) before each look.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._life: _Life | None = None
        """The thread that looks; ``None`` without one, also while one that was told to end still does."""
        self._wake = threading.Event()
        self._resting = False
        self._changed = False
        """Whether a loop may have begun to run since they were looked through."""
        self._lock = threading.RLock()  # a signal handler may end what it has interrupted the start of
        self._seen: tuple[tuple[RawFrame, ...], str | None] | None = None
        """The stack seen last of the running callback, and the C call that its innermost frame is in."""
        self.lateness = Lateness()
        self.runs = Runs()

    @property
    def tick_s(self) -> float:
        """Seconds between two looks."""
        return self.runs.tick_s

    @tick_s.setter
    def tick_s(self, seconds: float) -> None:
        self.runs.tick_s = seconds

    # -- life ---------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Start the thread if it does not run; when it does, have it look which loops there are.

        Args:
            loop: the one that there is now. It can wait if it was seen to begin to run, or does not run yet.
        """
        self._changed = True  # before it is asked whether it rests: it asks the other way round
        if self._life is not None:
            if self._resting:
                self._wake.set()
            elif loop is None or (loop not in self.runs and loop.is_running()):
                self.runs.ring()
            return
        with self._lock:
            if self._life is not None:
                return
            self.runs.open()
            self._wake, self._resting = threading.Event(), False
            over = threading.Event()
            thread = threading.Thread(target=self._run, args=(over,), name=THREAD_NAME, daemon=True)
            self._life = _Life(thread, over)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._life = None
                self.runs.close()

    def end(self) -> threading.Thread | None:
        """Tell the thread to end, and do not wait for it; returns the one that was told."""
        with self._lock:
            life, self._life = self._life, None
            if life is None:
                return None
            life.over.set()
            self._wake.set()
            self.runs.ring()
            self.runs.close()
        return life.thread

    def stop(self, timeout_s: float | None = None) -> None:
        """End the thread and wait for it, :data:`STOP_S` by default."""
        wait_for(self.end(), timeout_s)

    def forget(self) -> None:
        """In a forked child: the thread is not there, its locks may be held for ever."""
        self._life = None
        self.runs.forget()
        self._wake = threading.Event()
        self._resting = False
        self._lock = threading.RLock()
        self.lateness = Lateness()

    # -- the thread ---------------------------------------------------------------------------

    def _run(self, over: threading.Event) -> None:
        try:
            block_signals()
            while not over.is_set():
                try:
                    self._watch(over)
                except Exception:
                    guard.failed("watch the loops")
                    over.wait(RETRY_S)
        finally:
            with self._lock:
                if self._life is not None and self._life.over is over:  # else another one has begun
                    self._life = None

    def _watch(self, over: threading.Event) -> None:
        registry = self._registry
        check_at = 0.0
        now = ran_at = perf_counter()
        self.lateness.begin_thread(now)  # what there is may be of the thread before
        monitors: list[Monitor] = []
        while not over.is_set():
            tick = self.tick_s
            told = self._can_be_told(now)
            # Counted from the last wake-up: a look that took long was one that lost the GIL.
            due = now + tick
            if told:
                monitors = []
                due, now, moments, wanted = self.runs.wait(lambda: self._changed or over.is_set())
                if over.is_set():  # the clocks and counters may be another thread's by now
                    return
                if not wanted:
                    self.lateness.begin(now)
                    continue
                self.lateness.woke_up_before(moments - 1)
                check_at = now
            elif tick <= LONG_TICK_S:
                _sleep(tick)
                now = perf_counter()
            else:  # a listener with a lower threshold may come meanwhile
                self._rest(tick, over)
                now = perf_counter()
                due = min(due, now)
            if over.is_set():
                return
            if now >= check_at or self._changed:
                # Before looking: a loop attached from here on is looked at at the next tick.
                self._changed = False
                monitors = registry.monitors()
                if any(monitor.running for monitor in monitors):
                    ran_at = now
                    check_at = now + 20 * tick
                elif now - ran_at > REST_AFTER_S and not told:
                    self.lateness.forget()
                    self._rest(STANDSTILL_S if monitors else 60.0, over)
                    now = perf_counter()
                    continue
            self._look(monitors, due, now, over)
            if over.is_set():
                return
            if told and not monitors:
                self.lateness.begin(now)

    def _can_be_told(self, now: float) -> bool:
        """Whether the alarm will go off before any loop has run for too long without a look."""
        if not self.runs.can_wait(now):
            return False
        changed, self._changed = self._changed, False  # before they are looked through
        if not self._registry.unseen():
            return True
        if changed:
            self._changed = True
        return False

    def _rest(self, seconds: float, over: threading.Event) -> None:
        """Sleep; a loop that is attached, or the end, interrupts."""
        wake = self._wake  # before reading ``over``: the next thread has another one
        self._resting = True
        if not self._changed and not over.is_set():
            wake.wait(seconds)
        if not over.is_set():
            self._resting = False
            wake.clear()

    def _look(self, monitors: list[Monitor], due: float, now: float, over: threading.Event) -> None:
        # A function of its own: no name in the frame of the thread keeps a monitor, while it rests.
        process_cpu = time.process_time()
        self.lateness.woke_up(due, now)
        for monitor in monitors:
            if over.is_set():
                return
            try:
                if monitor.poll is not None:
                    monitor.poll(monitor)
                self._tick(monitor, due, now, process_cpu)
            except Exception:  # the other loops are looked at nevertheless
                guard.failed("look at a loop")

    def _tick(self, monitor: Monitor, due: float, now: float, process_cpu: float) -> None:
        started = monitor.started
        cpu: float | None = None
        clock = monitor.clock
        if clock is not None:
            try:
                cpu = time.clock_gettime(clock)
            except OSError:  # the loop's thread has ended
                monitor.clock = None
        if started == 0.0 or now - started < self.tick_s:
            monitor.reading = reading = Reading(now, cpu, process_cpu, None, monitor.busy)
            baseline = monitor.baseline
            if self.lateness.stale:
                self.lateness.begin(now)
            if baseline is None or now - baseline.at >= BASELINE_TICKS * self.tick_s:
                counters = cgroup.scheduling(monitor.native_id)
                monitor.baseline = reading._replace(scheduling=counters)
                self.lateness.begin(now)
            return
        watch = monitor.watch
        if watch is None or watch.started != started:
            watch = Watch(started, monitor.reading, self._registry.max_samples, monitor.baseline)
            self._seen = None
        watch.ticked = now
        late = now - due
        wanted = watch.wanted
        seen: tuple[tuple[RawFrame, ...], str | None] | None = None
        others: tuple[RawFrame, ...] = ()
        if wanted:
            before = self._seen
            try:
                with looking:
                    others = self._look_at_threads(monitor.thread_id, others=late > 0.5 * self.tick_s)
            except Exception:
                guard.failed("look at a stack")
                if self._seen is before:  # not even the stack was seen
                    return
            seen = self._seen
            # If it ended while we looked, this is the stack of another callback.
            if seen is None or monitor.started != started:
                return
        reading = Reading(now, cpu, process_cpu, None, monitor.busy)
        if wanted or late > 0.5 * self.tick_s:
            reading = reading._replace(scheduling=cgroup.scheduling(monitor.native_id))
            if late > 0.5 * self.tick_s:
                watch.note(self.lateness.explain(due, now, queued_between(monitor.baseline, reading)))
            monitor.baseline = reading
        if seen is not None:
            watch.add(Look(due, now, cpu, process_cpu, *seen, others, reading.scheduling, monitor.busy))
            monitor.watch = watch
        # Last, because it gives up the GIL: the callback may end meanwhile.
        if queued_between(watch.baseline, reading) >= watch.throttling_due_s:
            watch.throttling_due_s = 4 * queued_between(watch.baseline, reading)
            watch.throttled = self.lateness.throttled()
        for listener in self._registry.listeners:
            if monitor.is_over(started):
                return
            try:
                listener.callback_running(monitor, started, now)
            except Exception:
                guard.failed("tell of a running callback")

    def _look_at_threads(self, loop_thread: int, *, others: bool) -> tuple[RawFrame, ...]:
        """See the loop's stack; where ``others`` are wanted, return the innermost frames of other threads."""
        frames = sys._current_frames()
        frame = frames.get(loop_thread)
        if frame is None:
            self._seen = None
            return ()
        found = _others(frames, loop_thread) if others else ()
        # Our own frames between the application's and a method of the loop are nobody's culprit.
        hooked, runners = False, self._registry.runners
        while _is_hook(frame) and frame.f_code not in runners and frame.f_back is not None:
            hooked |= frame.f_globals.get("__name__") != _COLLECTOR  # that one was called by no line
            frame = frame.f_back
        seen = self._seen
        stack = walk(frame, runners, seen[0] if seen is not None else ())
        # A sleeping callback has the same stack at every look.
        if seen is None or stack != seen[0]:
            self._seen = stack, None  # if naming the call fails
            if not hooked and (frame.f_code in runners or not is_ours(frame.f_code)):
                self._seen = stack, called_name(frame)
        return found


def wait_for(thread: threading.Thread | None, timeout_s: float | None = None) -> None:
    """Wait for a thread that was told to end, :data:`STOP_S` by default; never for the caller's own."""
    if thread is not None and thread is not threading.current_thread() and thread.is_alive():
        thread.join(STOP_S if timeout_s is None else timeout_s)


def _is_hook(frame: FrameType) -> bool:
    return is_hook(frame.f_globals.get("__name__") or "")


def walk(
    frame: FrameType | None, runners: set[CodeType], before: tuple[RawFrame, ...] = ()
) -> tuple[RawFrame, ...]:
    """The stack from the loop's callback inwards, outermost first.

    Args:
        frame: the innermost frame.
        runners: the code of our hooks; what is outside them is the loop, not the callback.
        before: an earlier stack; what has not moved since is taken from it, as line numbers take long.
    """
    found: list[RawFrame] = []
    known = reversed(before)
    while frame is not None and len(found) < MAX_DEPTH:
        code, lasti = frame.f_code, frame.f_lasti
        if code in runners:
            break
        raw = next(known, None)
        if raw is None or raw[0] is not code or raw[1] != lasti:
            raw = (code, lasti, line_number(frame), frame.f_globals.get("__name__") or "")
        found.append(raw)
        frame = frame.f_back
    found.reverse()
    return tuple(found)


def _others(frames: dict[int, FrameType], loop_thread: int) -> tuple[RawFrame, ...]:
    own = threading.get_ident()
    return tuple(
        (frame.f_code, frame.f_lasti, line_number(frame), frame.f_globals.get("__name__") or "")
        for ident, frame in list(frames.items())[:64]
        if ident != loop_thread and ident != own
    )
