"""The watchdog: one daemon thread per process that looks at callbacks while they are long.

It also does what must not happen on a loop's thread: deferred work of the listeners (metrics, logs,
spans) is handed to it. It sleeps while no loop runs, or none for longer than a quarter of a threshold
(:mod:`~otel_loopblock.runs`), and starts again in a forked child with the first loop there.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from time import perf_counter
from types import CodeType, FrameType
from typing import TYPE_CHECKING

from otel_loopblock import guard, kernel
from otel_loopblock.lateness import Lateness
from otel_loopblock.naming import called_name, line_number
from otel_loopblock.runs import BASELINE_TICKS, Runs
from otel_loopblock.samples import Look, RawFrame, Reading, Watch, queued_between

if TYPE_CHECKING:
    import asyncio

    from otel_loopblock.monitor import Monitor
    from otel_loopblock.registry import Registry

STANDSTILL_S = 0.01
"""How often a loop that stands still is asked whether it runs again."""

REST_AFTER_S = 1.0
"""How long all loops must have stood still before the watchdog ticks more slowly, where it is not told when
one begins to run."""

LONG_TICK_S = 0.02
"""A tick longer than this can be interrupted; the sleep of a shorter one costs less."""

MAX_DEPTH = 200
"""Frames walked per look: deeper recursion is cut at the outer end."""

MAX_DEFERRED = 10_000
"""Work items waiting for the thread; beyond that the caller does its own."""

_COLLECTOR = "otel_loopblock.hooks.collector"

THREAD_NAME = "otel-loopblock-watchdog"


class Watchdog:
    """Looks at every monitored loop each ``tick_s`` seconds.

    A tick is a quarter of the threshold: a block of 12 ms at a threshold of 10 ms must be looked at
    although a Python CPU loop keeps the GIL for a switch interval (5 ms) before each look.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._resting = False
        self._changed = False
        """Whether a loop may have begun to run since they were looked through."""
        self._running = False
        """Whether there is the thread; to ask that itself takes a lock."""
        self._stopping = False
        self._lock = threading.Lock()
        self._deferred: deque[Callable[[], None]] = deque()
        self._doing: deque[None] = deque()  # one for each thread that does deferred work
        self._last_place: tuple[object, ...] | None = None
        self._last_frames: tuple[tuple[RawFrame, ...], str | None] = ((), None)
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
        if self._running:
            if self._resting:
                self._wake.set()
            elif loop is None or (loop not in self.runs and loop.is_running()):
                self.runs.ring()
            return
        with self._lock:
            if self._running:
                return
            self._stopping = False
            self.runs.open()
            thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            self._running = True
            try:
                thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._running = False
                self.runs.close()
                return
            self._thread = thread

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop the thread, wait for it, and do the work that was deferred."""
        thread = self._thread
        self._stopping = True
        self._wake.set()
        self.runs.ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        self._thread = None
        self._running = False
        self.runs.close()
        self.drain()

    def forget(self) -> None:
        """In a forked child: the thread is not there, its locks may be held for ever."""
        self._thread = None
        self._running = False
        self.runs.forget()
        self._wake = threading.Event()
        self._resting = False
        self._lock = threading.Lock()
        self._stopping = False
        self._deferred = deque()
        self._doing = deque()
        self.lateness = Lateness()

    # -- deferred work ------------------------------------------------------------------------

    def defer(self, work: Callable[[], None]) -> None:
        """Have ``work`` done on the watchdog's thread, at once where there is none."""
        if not self._running or self._stopping or len(self._deferred) >= MAX_DEFERRED:
            _do(work)
        else:
            self._deferred.append(work)
            self.runs.ring(soon=True)

    @property
    def pending(self) -> bool:
        """Whether deferred work is waiting or being done."""
        return bool(self._deferred or self._doing)

    def drain(self) -> None:
        """Do the deferred work that there is."""
        deferred = self._deferred
        while deferred:
            self._doing.append(None)  # before it leaves the queue: it is pending all the time
            try:
                _do(deferred.popleft())
            except IndexError:  # another thread was faster
                return
            finally:
                self._doing.pop()

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping:
                try:
                    self._watch()
                except Exception:
                    guard.failed("watch the loops")
                    time.sleep(1.0)
        finally:
            if self._thread is threading.current_thread():  # not one that could not wait for this one to end
                self._running = False

    def _watch(self) -> None:
        registry = self._registry
        check_at = 0.0
        now = ran_at = perf_counter()
        self.lateness.begin_thread(now)  # what there is may be of the thread before
        monitors: list[Monitor] = []
        while not self._stopping:
            tick = self.tick_s
            told = self._can_be_told(now)
            # Counted from the last wake-up: a look that took long was one that lost the GIL.
            due = now + tick
            if told:
                monitors = []
                due, now, moments, wanted = self.runs.wait(self._is_wanted)
                if not wanted:
                    self.lateness.begin(now)
                    continue
                self.lateness.woke_up_before(moments - 1)
                check_at = now
            elif tick <= LONG_TICK_S:
                time.sleep(tick)
                now = perf_counter()
            else:  # a listener with a lower threshold may come meanwhile
                self._rest(tick)
                now = perf_counter()
                due = min(due, now)
            if now >= check_at or self._changed:
                # Before looking: a loop attached from here on is looked at at the next tick.
                self._changed = False
                monitors = registry.monitors()
                if any(monitor.running for monitor in monitors):
                    ran_at = now
                    check_at = now + 20 * tick
                elif now - ran_at > REST_AFTER_S and not told:
                    self.drain()
                    self.lateness.forget()
                    self._rest(STANDSTILL_S if monitors else 60.0)
                    now = perf_counter()
                    continue
            self._look(monitors, due, now)
            if told and not monitors:
                self.lateness.begin(now)
            if self._deferred:
                self.drain()
                self.lateness.forget()
                now = perf_counter()

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

    def _is_wanted(self) -> bool:
        return self._stopping or self._changed or bool(self._deferred)

    def _rest(self, seconds: float) -> None:
        """Sleep; a loop that is attached, or the end, interrupts."""
        self._resting = True
        if not self._changed and not self._stopping:
            self._wake.wait(seconds)
        self._resting = False
        self._wake.clear()

    def _look(self, monitors: list[Monitor], due: float, now: float) -> None:
        # A function of its own: no name in the frame of the thread keeps a monitor, while it rests.
        process_cpu = time.process_time()
        self.lateness.woke_up(due, now)
        for monitor in monitors:
            if monitor.poll is not None:
                monitor.poll(monitor)
            self._tick(monitor, due, now, process_cpu)

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
                counters = kernel.scheduling(monitor.native_id)
                monitor.baseline = reading._replace(scheduling=counters)
                self.lateness.begin(now)
            return
        watch = monitor.watch
        if watch is None or watch.started != started:
            watch = Watch(started, monitor.reading, self._registry.max_samples, monitor.baseline)
            self._last_place = None
        watch.ticked = now
        late = now - due
        wanted = watch.wanted
        stack: tuple[RawFrame, ...] = ()
        call: str | None = None
        others: tuple[RawFrame, ...] = ()
        if wanted:
            frames = sys._current_frames()
            frame = frames.get(monitor.thread_id)
            if frame is None:
                return
            stack, call = self._stack(frame)
            others = _others(frames, monitor.thread_id) if late > 0.5 * self.tick_s else ()
            del frame, frames
            if monitor.started != started:  # it ended while we looked: this is the stack of another callback
                return
        reading = Reading(now, cpu, process_cpu, None, monitor.busy)
        if wanted or late > 0.5 * self.tick_s:
            reading = reading._replace(scheduling=kernel.scheduling(monitor.native_id))
            if late > 0.5 * self.tick_s:
                watch.note(self.lateness.explain(due, now, queued_between(monitor.baseline, reading)))
            monitor.baseline = reading
        if wanted:
            watch.add(Look(due, now, cpu, process_cpu, stack, call, others, reading.scheduling, monitor.busy))
            monitor.watch = watch
        # Last, because it gives up the GIL: the callback may end meanwhile.
        if queued_between(watch.baseline, reading) >= watch.throttling_due_s:
            watch.throttling_due_s = 4 * queued_between(watch.baseline, reading)
            watch.throttled = self.lateness.throttled()
        for listener in self._registry.listeners:
            listener.callback_running(monitor, started, now)

    def _stack(self, frame: FrameType) -> tuple[tuple[RawFrame, ...], str | None]:
        # Our own frames between the application's and a method of the loop are nobody's culprit.
        hooked = False
        while _is_ours(frame) and frame.f_code not in self._registry.runners and frame.f_back is not None:
            hooked |= frame.f_globals.get("__name__") != _COLLECTOR  # that one was called by no line
            frame = frame.f_back
        # A sleeping callback has the same innermost frame at the same instruction at every look.
        caller = frame.f_back
        place = (
            id(frame),
            frame.f_code,
            frame.f_lasti,
            id(caller),
            caller.f_lasti if caller is not None else 0,
        )
        if place == self._last_place:
            return self._last_frames
        try:
            call = None if hooked else called_name(frame)
        except Exception:
            guard.failed("name a call")
            call = None
        self._last_frames = (walk(frame, self._registry.runners), call)
        self._last_place = place
        return self._last_frames


def _is_ours(frame: FrameType) -> bool:
    return (frame.f_globals.get("__name__") or "").startswith("otel_loopblock.hooks.")


def walk(frame: FrameType | None, runners: set[CodeType]) -> tuple[RawFrame, ...]:
    """The stack from the loop's callback inwards, outermost first.

    Args:
        frame: the innermost frame.
        runners: the code of our hooks; what is outside them is the loop, not the callback.
    """
    found: list[RawFrame] = []
    while frame is not None and len(found) < MAX_DEPTH:
        code = frame.f_code
        if code in runners:
            break
        found.append((code, frame.f_lasti, line_number(frame), frame.f_globals.get("__name__") or ""))
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


def _do(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        guard.failed("emit telemetry")
