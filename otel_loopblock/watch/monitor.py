"""One monitor per loop: what runs now, since when, and what of it has been reported already.

The hooks write ``started`` and ``busy`` on every callback; everything else happens per block. A monitor
lives as an attribute of its loop and dies with it; it must not keep the loop alive, and knows nothing
of OpenTelemetry.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from otel_loopblock import guard
from otel_loopblock.naming import is_our_callback
from otel_loopblock.watch import cgroup
from otel_loopblock.watch.evidence import (
    Delay,
    Evidence,
    Look,
    Reading,
    Watch,
    collected_between,
    queued_between,
)
from otel_loopblock.watch.facts import is_closed
from otel_loopblock.watch.runs import BASELINE_TICKS, FRESH_TICKS
from otel_loopblock.watch.target import Target, task_of

if TYPE_CHECKING:
    from contextvars import Context

    from otel_loopblock.runtime import Registry

ATTRIBUTE = "_loopblock_monitor"
"""Where a loop carries its monitor: an attribute costs the hot path less than any table."""

MAX_COLLECTIONS = 64
"""Runs of the garbage collector kept per loop."""

_own_attribute = object.__getattribute__


class LoopThread:
    """A thread that runs loops: what is learned of it once, however many it runs; make it in that thread.

    The id of a CPU clock may be taken only in its own thread: with that of a dead one
    ``pthread_getcpuclockid`` crashes the process.
    """

    __slots__ = (
        "baseline",
        "clock",
        "id",
        "loop_attributes",
        "loop_class",
        "monitor",
        "native_id",
        "thread",
    )

    def __init__(self) -> None:
        self.id = threading.get_ident()
        self.native_id = threading.get_native_id()
        self.thread = threading.current_thread()
        self.clock: int | None = None
        with contextlib.suppress(AttributeError, OSError):
            self.clock = time.pthread_getcpuclockid(self.id)
        self.baseline: Reading | None = None
        """The scheduler's counters as one of its loops has read them last."""
        self.monitor: Monitor | None = None
        """That of its last loop, where it can serve the next one as well, if that is of the same"""
        self.loop_class: type | None = None
        self.loop_attributes: tuple[tuple[str, Any], ...] = ()


class Following(Protocol):
    """What wants to know of every callback of a loop that ends, however short."""

    def callback_ended(self, callback: Any) -> None:
        """The callback has ended; on the loop's thread. Must not raise."""


class Monitor:
    """The state of one loop.

    ``started`` is 0.0 while no callback runs. A callback that runs the loop again from within (as
    nest_asyncio does) leaves 0.0 behind: its own time is then not one stretch and is not judged.
    """

    __slots__ = (
        "__weakref__",
        "_thread",
        "baseline",
        "beating",
        "busy",
        "clock",
        "collections",
        "ended",
        "following",
        "listed",
        "loop",
        "loop_type",
        "native_id",
        "poll",
        "reading",
        "registry",
        "stale_from",
        "started",
        "state",
        "thread_id",
        "threshold",
        "turns",
        "watch",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, loop_type: str, registry: Registry) -> None:
        self.started = 0.0
        self.ended = 0.0
        """``started`` of the last callback over the threshold that has come to its end, whether that has been
        reported yet or not."""
        self.busy = 0.0
        self.threshold = registry.threshold_s
        """How long a callback must run that the hooks tell of it: 0 while a follower wants all of them."""
        self.loop = weakref.ref(loop)
        self.loop_type = loop_type
        self.registry = registry
        self.thread_id = 0
        self.native_id = 0
        self._thread: LoopThread | None = None
        self.clock: int | None = None
        self.reading: Reading | None = None
        """The clocks while no callback was long, as the watchdog read them last."""
        self.stale_from = 0.0
        """``perf_counter`` from when on they are read again when the loop begins to run."""
        self.listed = False
        """Whether the registry knows it; changed under its lock."""
        self.baseline: Reading | None = None
        """The same with the scheduler's counters, which are read more rarely."""
        self.watch: Watch | None = None
        self.poll: Callable[[Monitor], None] | None = None
        """On a loop that no hook sees: what the watchdog calls at each tick to learn of its callbacks."""
        self.beating = False
        """Whether its heartbeat runs."""
        self.turns = 0
        """Turns of the loop until everything that the last callback made wait has been woken; 0 where
        nobody can tell who waited."""
        self.following: tuple[Following, ...] = ()
        """Who wants to know of every callback for now; what else they do here is their own affair."""
        self.collections: tuple[tuple[float, float], ...] = ()
        """Runs of the garbage collector, oldest first: replaced, never changed, as one may come while another
        thread, or this one, copies them."""
        self.state: dict[object, Any] = {}
        """What the listeners keep per loop, by listener."""

    def enter_thread(self) -> None:
        """Learn the thread that runs the loop; must be called in it."""
        thread = self._thread = self.registry.thread()
        self.thread_id = thread.id
        self.native_id = thread.native_id
        self.clock = thread.clock
        self.watch = None
        # A loop's very first callback may block: its clocks need a beginning as well.
        self._read_clocks(thread, time.perf_counter())

    def serve(self, loop: asyncio.AbstractEventLoop, now: float) -> bool:
        """Be the monitor of another loop of the same class, which runs in the same thread, from now on.

        Loops that come and go, as in tests, are the same to whoever only wants to know how long callbacks
        took; and to make a monitor costs more than to time the callbacks of such a loop.

        Args:
            loop: the other one, which begins to run or is about to.
            now: ``perf_counter``.

        Returns:
            Whether it can be: its own loop is closed, and nobody keeps anything of it.
        """
        before = self.loop()
        if (before is not None and not is_closed(before)) or self.state or self.following or self.beating:
            return False
        if before is not None and monitor_of(before) is self:
            self.registry.detach(self)
        self.loop = weakref.ref(loop)
        self.started = 0.0
        self.threshold = self.registry.threshold_s
        self.watch = None
        self.collections = ()
        if now >= self.stale_from:
            self.begin_run(now)
        return True

    @property
    def thread_name(self) -> str:
        """Of the thread that runs the loop."""
        return self._thread.thread.name if self._thread is not None else ""

    def begin_run(self, now: float) -> None:
        """The loop begins to run again, on this thread: nobody has read its clocks since it stopped.

        Args:
            now: ``perf_counter``.
        """
        thread = self._thread
        if thread is None or thread.id != threading.get_ident():
            self.enter_thread()
            return
        reading, fresh_s = self.reading, FRESH_TICKS * self.registry.watchdog.tick_s
        if reading is not None and now - reading.at < fresh_s:  # the watchdog has come by
            self.stale_from = reading.at + fresh_s
        else:
            self._read_clocks(thread, now)

    def _read_clocks(self, thread: LoopThread, now: float) -> None:
        cpu = time.thread_time() if thread.clock is not None else None
        self.reading = reading = Reading(now, cpu, time.process_time(), None, self.busy)
        tick_s = self.registry.watchdog.tick_s
        known = thread.baseline
        if known is None or now - known.at >= BASELINE_TICKS * tick_s:
            known = self.registry.baseline(thread, reading)
        self.baseline = known
        self.stale_from = now + FRESH_TICKS * tick_s

    @property
    def running(self) -> bool:
        """Whether the loop runs, or may start to run again soon."""
        loop = self.loop()
        return loop is not None and not is_closed(loop) and loop.is_running()

    def evidence(self, now: float) -> Evidence:
        """What is known of the running callback; call it on the loop's thread.

        Args:
            now: ``perf_counter``.
        """
        cpu = time.thread_time() if self.clock is not None else None
        registry, ticked, scheduling = self.registry, self._ticked(), None
        if registry.watching and now - ticked >= 2 * registry.watchdog.tick_s:
            # Only where the watchdog should have come by, but has not: it costs more than all the rest here.
            scheduling = cgroup.scheduling(self.native_id)
        return self._evidence(Reading(now, cpu, time.process_time(), scheduling, self.busy), ticked)

    def _ticked(self) -> float:
        """When the watchdog looked at this loop last, whether it kept what it saw or not."""
        watch = self.watch
        if watch is not None and watch.started == self.started:
            return watch.ticked
        return self.reading.at if self.reading is not None else 0.0

    def evidence_so_far(self, now: float) -> Evidence:
        """The same, called on the watchdog's thread while the callback runs on."""
        cpu: float | None = None
        if self.clock is not None:
            try:
                cpu = time.clock_gettime(self.clock)
            except OSError:
                cpu = None
        return self._evidence(Reading(now, cpu, time.process_time(), None, self.busy), self._ticked())

    def _evidence(self, end: Reading, ticked: float) -> Evidence:
        watch, now = self.watch, end.at
        watchdog = self.registry.watchdog
        looks: tuple[Look, ...] = ()
        delays: tuple[Delay, ...] = ()
        before, baseline, throttled = self.reading, self.baseline, None
        if watch is not None and watch.started == self.started:
            looks, delays = tuple(watch.looks), tuple(watch.delays)
            before, baseline, throttled = watch.before, watch.baseline, watch.throttled
        if before is not None and before.at < watchdog.runs.began.get(id(self.loop()), 0.0):
            before = before._replace(busy=0.0)
        due = watchdog.runs.next_due(ticked or now)
        if self.registry.watching and now - due >= watchdog.tick_s:
            queued = queued_between(self.baseline, end)
            before_due = watchdog.runs.moments_before()
            delays = (*delays, watchdog.lateness.explain_missing(due, now, queued, before_due))
        return Evidence(looks, before, end, delays, self.collections, baseline, throttled)

    def is_over(self, started: float) -> bool:
        """Whether the callback that began then has come to its end.

        What another thread leaves for that moment may come too late to be fetched: leave it, then ask, and if
        so drop it.

        Args:
            started: ``perf_counter`` at the callback's start.
        """
        return self.started != started or self.ended == started

    def callback_ended(self, ended: float, callback: Any, context: Context | None, turns: int) -> None:
        """Report the callback that just ended over the threshold; a shorter one only followers are told of.

        One of ours is no block of the application's and is not reported. Never raises.

        Args:
            ended: ``perf_counter`` at its end.
            callback: what the loop called.
            context: the context it ran in; ``None`` when that is the current one.
            turns: how many turns of the loop it takes until what came from the outside during the
                callback has been seen and has woken its tasks.
        """
        started = self.started
        if started == 0.0:  # the loop was run again from within
            return
        for each in self.following:
            each.callback_ended(callback)
        if ended - started < self.registry.threshold_s or is_our_callback(callback):
            return
        self.ended = started  # before the listeners fetch what was left for them
        try:
            self.turns = turns
            if threading.get_ident() != self.thread_id:
                self.enter_thread()
            self.report(ended, Target(callback, task_of(callback)), context)
        except Exception:
            guard.failed("report a block")

    def report(self, ended: float, target: Target, context: Context | None) -> None:
        """Tell the listeners of the callback that began at ``started`` and was over the threshold."""
        started = self.started
        for listener in self.registry.listeners:
            if ended - started >= listener.threshold_s:
                try:
                    listener.callback_blocked(self, started, ended, target, context)
                except Exception:
                    guard.failed("report a block")

    def collected(self, began: float, now: float) -> float:
        """Seconds in the garbage collector between two moments, with the run that may last; any thread."""
        since = self.registry.collecting_since
        lasting = max(0.0, now - max(since, began)) if since else 0.0
        return lasting + collected_between(self.collections, began, now)

    def garbage_collected(self, started: float, ended: float) -> None:
        """Note a run of the garbage collector on this thread (called from ``gc.callbacks``)."""
        self.collections = (*self.collections[1 - MAX_COLLECTIONS :], (started, ended))


def monitor_of(loop: object) -> Monitor | None:
    """The monitor that ``loop`` carries.

    What answers to every name, as a mock does, carries none. No code of the application is called: it may be
    asked in the middle of anything.
    """
    try:
        monitor = _own_attribute(loop, ATTRIBUTE)
    except AttributeError:
        return None
    return monitor if type(monitor) is Monitor else None
