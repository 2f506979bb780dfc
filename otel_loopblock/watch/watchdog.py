"""The watchdog: one daemon thread per process that looks at callbacks while they are long.

It sleeps in the core's wait, without the GIL, while no callback is long, and starts again in a forked child
with the first loop there.
"""

from __future__ import annotations

import threading
from _thread import get_ident
from functools import partial
from math import inf
from typing import NamedTuple

from otel_loopblock import core, guard, threads
from otel_loopblock.clocks import process_time
from otel_loopblock.naming import called_name, is_ours, line_before
from otel_loopblock.watch import cgroup, lateness, standstill
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.endpoint import find_endpoint
from otel_loopblock.watch.evidence import Endpoint, Look, RawFrame, Reading, Throttling, Watch, queued_between
from otel_loopblock.watch.fullness import Fullness
from otel_loopblock.watch.looks import cut
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor, listeners

MAX_DEPTH = 200
"""Frames walked per look."""

EARLY_S = 0.1
"""Of a callback that is younger than this at most :data:`EARLY_LOOKS` looks are taken, of an older one one
each :data:`LATE_LOOK_S`: to look must not slow down what is looked at."""

EARLY_LOOKS = 16

LATE_LOOK_S = 0.05

LATE_TICKS = 0.5
"""Ticks from which on a wake-up is late enough to be noted."""

LIMIT_S = 1.0
"""How old the cgroup's counters may be that a block begins with."""

STOP_S = 0.2
"""How long whoever ends the thread waits for it: a look takes less, and a loop may stand still meanwhile."""

RETRY_S = 1.0
"""How long the thread leaves it alone after it could not watch."""

THREAD_NAME = "otel-loopblock-watchdog"


class WakeUp(NamedTuple):
    """Times of ``perf_counter`` of one wake-up."""

    due: float
    """When it was to be."""
    woke: float
    """When the thread had a CPU."""
    got: float
    """When it had the GIL."""


class Life(NamedTuple):
    """One thread. Each has its own sign to end: the start of the next one cannot revive a late one."""

    thread: threading.Thread
    over: threading.Event
    waiter: core.Waiter


class Seen(NamedTuple):
    """The stack seen last of the running callback."""

    frames: tuple[RawFrame, ...]
    call: str | None = None
    """The C call that its innermost frame is in."""
    endpoint: Endpoint | None = None


class Watchdog:
    """Looks at the callbacks of all monitored loops."""

    def __init__(self) -> None:
        self.life: Life | None = None
        """The thread that looks; ``None`` without one, also while one that was told to end still does."""
        self._lock = threading.RLock()  # a signal handler may end what it has interrupted the start of
        self.fullness = Fullness()
        self._seen: Seen | None = None
        self._limit: Throttling | None = None
        self._limit_at = -inf

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread if it does not run; none where it would be no real one."""
        if self._is_alive() or not threads.may_start():
            return
        with self._lock:
            if self._is_alive():
                return
            over, waiter = threading.Event(), loops.new_waiter()
            thread = threading.Thread(
                target=guard.call,
                args=("watch the loops", self._run, over, waiter),
                name=THREAD_NAME,
                daemon=True,
            )
            self.life = Life(thread, over, waiter)
            try:
                threads.start(thread)
            except RuntimeError as error:  # the interpreter is shutting down
                guard.let_through(error)  # there is a thread nevertheless
                self.life = None

    def _is_alive(self) -> bool:
        life = self.life
        return life is not None and not threads.has_died(life.thread)

    def end(self) -> threading.Thread | None:
        """Tell the thread to end, and do not wait for it; returns the one that was told."""
        with self._lock:
            life, self.life = self.life, None
            if life is None:
                return None
            life.over.set()
            life.waiter.wake()
        return life.thread

    def stop(self, timeout_s: float | None = None) -> None:
        """End the thread and wait for it, :data:`STOP_S` by default."""
        wait_for(self.end(), timeout_s)

    def forked(self) -> None:
        """In a forked child: the thread is not there, its lock may be held for ever."""
        self.life = None
        self._lock = threading.RLock()

    # -- the thread ---------------------------------------------------------------------------

    def _run(self, over: threading.Event, waiter: core.Waiter) -> None:
        try:
            threads.enter()
            while not over.is_set():
                try:
                    self._watch(over, waiter)
                except Exception:
                    guard.failed("watch the loops")
                    over.wait(RETRY_S)
        finally:
            waiter.samples()  # they hold monitors, and these hold it
            with self._lock:
                if self.life is not None and self.life.over is over:  # else another one has begun
                    self.life = None

    def _watch(self, over: threading.Event, waiter: core.Waiter) -> None:
        while not over.is_set():
            tick_s = demand.tick_s
            limit_s = tick_s if _poll() else inf
            # No name in the frame of the thread keeps a monitor while it sleeps, but for the core's own.
            self.fullness.begin(waiter)
            why, *times = waiter.wait(tuple(loops.monitors()), tick_s, limit_s)
            if why == core.LONG_CALLBACK and not over.is_set():
                self._look(WakeUp(*times), over, waiter)
            elif why == core.LATE and not over.is_set():
                standstill.tell(*times[:2], own_queued_s=waiter.queued())
            if not over.is_set():
                guard.call("tell how full the loops are", self.fullness.look, waiter)

    def _look(self, wake_up: WakeUp, over: threading.Event, waiter: core.Waiter) -> None:
        process_cpu = process_time()
        own_queued_s = waiter.queued() if wake_up.woke > wake_up.due else 0.0
        asked = waiter.asked() if wake_up.got - wake_up.woke > demand.tick_s else None
        for monitor in loops.monitors_in_callbacks():
            if over.is_set():
                return
            try:
                started = monitor.started
                if started and wake_up.got >= _due(monitor, started):
                    self._look_at(monitor, started, wake_up, process_cpu, own_queued_s, asked)
            except Exception:  # the other loops are looked at nevertheless
                guard.failed("look at a loop")

    def _look_at(
        self,
        monitor: Monitor,
        started: float,
        wake_up: WakeUp,
        process_cpu: float,
        own_queued_s: float | None,
        asked: int | None,
    ) -> None:
        due, woke, now = wake_up
        woke_cpu = monitor.woke_cpu  # the core writes it again once this thread waits
        monitor.looked_at, monitor.look_due = started, now + _pause(now - started)
        watch = monitor.watch
        if watch is None or watch.started != started:
            watch = Watch(started, monitor.before(), demand.max_samples)
            self._seen = None
        before = watch.looks[-1] if watch.looks else watch.before
        cpu = monitor.cpu_seconds()
        late = now - due > LATE_TICKS * demand.tick_s
        before_seen = self._seen
        try:
            self._see(monitor.thread_id)
        except Exception:
            guard.failed("look at a stack")
            if self._seen is before_seen:  # not even the stack was seen
                return
        seen = self._seen
        # If it ended while we looked, this is the stack of another callback.
        if seen is None or monitor.started != started:
            return
        others = _others(monitor.thread_id) if late else ()
        scheduling = monitor.scheduling()
        reading = Reading(now, cpu, process_cpu, scheduling, monitor.busy)
        watch.wake_ups += 1
        if late:
            cpu_s = cpu - woke_cpu if cpu is not None and woke_cpu >= 0.0 else None
            delay = lateness.explain(
                due,
                woke if core.TELLS_LATENESS else None,
                now,
                cpu_s=cpu_s,
                loop_queued_s=queued_between(before, reading),
                own_queued_s=own_queued_s,
                asked=asked,
            )
            watch.note(delay)
        watch.add(
            Look(
                due,
                now,
                cpu,
                process_cpu,
                seen.frames,
                seen.call,
                others,
                scheduling,
                monitor.busy,
                seen.endpoint,
            )
        )
        monitor.watch = watch
        self._ask_limit(watch, reading)  # late, because it gives up the GIL: the callback may end meanwhile
        for listener in listeners.now:
            if monitor.is_over(started):
                return
            try:
                listener.callback_running(monitor, started, now)
            except Exception:
                guard.failed("tell of a running callback")

    def _ask_limit(self, watch: Watch, reading: Reading) -> None:
        """Learn what the cgroup's CPU limit did, where the loop's thread had to wait for a CPU for long."""
        if len(watch.looks) == 1 and reading.at - self._limit_at >= LIMIT_S:
            self._limit, self._limit_at = cgroup.throttling(), reading.at
        queued_s = queued_between(watch.looks[0], reading)
        if self._limit is None or queued_s < watch.throttling_due_s:
            return
        watch.throttling_due_s = 4 * queued_s
        now = cgroup.throttling()
        if now is not None:
            periods, throttled_s = self._limit
            watch.throttled = Throttling(now.periods - periods, now.throttled_s - throttled_s)

    def _see(self, thread_id: int) -> None:
        frames = core.stack(thread_id, MAX_DEPTH)
        if frames is None:
            self._seen = None
            return
        first, last, hooked = cut(frames, loops.callers)
        stack = tuple(map(_with_line, reversed(frames[first:last])))
        # A sleeping callback has the same stack at every look: what is remembered of it serves again.
        seen = self._seen
        if seen is None or stack != seen.frames:
            self._seen = seen = Seen(stack)  # if what follows fails
            if not hooked and first < last and not is_ours(frames[first][0]):
                code, instruction, _, module = frames[first]
                found = called_name(
                    code, instruction, module, lambda name: core.variable(thread_id, code, instruction, name)
                )
                self._seen = seen = Seen(stack, found)
            self._seen = seen._replace(endpoint=find_endpoint(stack, partial(core.variable, thread_id)))


def _poll() -> bool:
    """Send a probe to each loop that no hook sees; whether there is one."""
    found = False
    for monitor in loops.monitors():
        if monitor.poll is not None:
            found = True
            try:
                monitor.poll(monitor)
            except Exception:
                guard.failed("probe a loop")
    return found


def _due(monitor: Monitor, started: float) -> float:
    return monitor.look_due if monitor.looked_at == started else started + demand.tick_s


def _pause(age_s: float) -> float:
    """Seconds from a look at a callback of this age to the next."""
    return max(demand.tick_s, EARLY_S / EARLY_LOOKS if age_s < EARLY_S else LATE_LOOK_S)


def _with_line(frame: RawFrame) -> RawFrame:
    code, instruction, line, module = frame
    return frame if line else (code, instruction, line_before(code, instruction), module)


def _others(loop_thread: int) -> tuple[RawFrame, ...]:
    """The innermost frames of the other threads."""
    own = get_ident()
    found = (core.stack(ident, 1) for ident in core.threads() if ident not in (loop_thread, own))
    return tuple(_with_line(frames[0]) for frames in found if frames)


def wait_for(thread: threading.Thread | None, timeout_s: float | None = None) -> None:
    """Wait for a thread that was told to end, :data:`STOP_S` by default; never for the caller's own."""
    if thread is not None and thread is not threading.current_thread() and thread.is_alive():
        thread.join(STOP_S if timeout_s is None else timeout_s)
