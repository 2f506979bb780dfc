"""Who listens, which loops are monitored: the hooks are in place while there is a listener.

The instrumentor's emitter is one listener, each ``detect_blocking`` in a test is another. They share
one set of hooks, one monitor per loop and one watchdog; the lowest threshold decides what is looked at.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from contextvars import Context
from types import CodeType
from typing import Any, Protocol

from otel_loopblock import guard
from otel_loopblock.hooks import Hooks
from otel_loopblock.watch import cgroup
from otel_loopblock.watch.evidence import Reading
from otel_loopblock.watch.facts import is_closed, is_loop
from otel_loopblock.watch.monitor import ATTRIBUTE, LoopThread, Monitor, monitor_of
from otel_loopblock.watch.target import Target
from otel_loopblock.watch.watchdog import Watchdog, wait_for

IDLE_TICKS = 2
"""Ticks in which a thread may have done anything but compute while its scheduler's counters still serve."""

MIN_ROOM = 8
"""Monitors listed, dead ones among them, before these are looked for."""


class Listener(Protocol):
    """What wants to know of blocks. Its methods must not block; an error in one is caught and counted."""

    threshold_s: float
    """Callbacks that run at least this long, in seconds, are reported."""
    heartbeat_interval_s: float
    """How often it wants the lag of each loop measured; 0: not at all."""
    watchdog: bool
    """Whether it wants stacks."""
    max_samples: int
    """How many samples per block it has use for."""

    def callback_blocked(
        self, monitor: Monitor, started: float, ended: float, target: Target, context: Context | None
    ) -> None:
        """A callback over its threshold has ended; called on the loop's thread."""

    def callback_running(self, monitor: Monitor, started: float, now: float) -> None:
        """A callback has run for more than a quarter of the threshold; called on the watchdog's thread."""

    def lag_measured(self, monitor: Monitor, lag_s: float) -> None:
        """A heartbeat ran ``lag_s`` late; called on the loop's thread."""


class Registry:
    """The listeners, the monitors and the hooks of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._monitors: list[weakref.ref[Monitor]] = []
        self.listeners: tuple[Listener, ...] = ()
        self.runners: set[CodeType] = set()
        self.threshold_s = 0.01
        self.heartbeat_interval_s = 0.0
        self.max_samples = 2
        self.watchdog = Watchdog(self)
        self.watching = False
        self.collecting_since = 0.0
        """``perf_counter`` when the garbage collector began; 0.0 while it does not run."""
        self._hooks = Hooks(self)
        self._here = threading.local()
        self._room = MIN_ROOM

    # -- listeners ----------------------------------------------------------------------------

    def add(self, listener: Listener) -> None:
        """Begin to tell ``listener``; the first one puts the hooks in place."""
        with self._lock:
            self.listeners = (*self.listeners, listener)
            self._adjust()
            if len(self.listeners) == 1:
                self._hooks.install()
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                pass
            else:
                self._hooks.cover(loop)
            if self._monitors:
                self.loop_runs()
            if listener.heartbeat_interval_s > 0:
                for monitor in self.monitors():
                    self._hooks.beat(monitor)

    def remove(self, listener: Listener) -> None:
        """Tell ``listener`` no more; the last one takes the hooks away and ends the thread.

        It may still be told what a thread has begun to tell.
        """
        ended: threading.Thread | None = None
        with self._lock:
            self.listeners = tuple(other for other in self.listeners if other is not listener)
            self._adjust()
            if not self.listeners:
                self._hooks.remove()
                for monitor in self.monitors():
                    self.detach(monitor)
                self._monitors = []
                self._here = threading.local()  # with the monitors that threads keep for their next loops
                ended = self.watchdog.end()
            else:
                for monitor in self.monitors():
                    monitor.state.pop(listener, None)
                if not self.watching:
                    ended = self.watchdog.end()
        wait_for(ended)  # without the lock: a loop of another thread may want it

    def _adjust(self) -> None:
        listeners = self.listeners
        if not listeners:
            return
        self.threshold_s = min(listener.threshold_s for listener in listeners)
        self.max_samples = max(listener.max_samples for listener in listeners)
        beats = [listener.heartbeat_interval_s for listener in listeners if listener.heartbeat_interval_s > 0]
        self.heartbeat_interval_s = min(beats, default=0.0)
        self.watching = any(listener.watchdog for listener in listeners)
        self.watchdog.tick_s = self.threshold_s / 4
        for monitor in self.monitors():
            monitor.threshold = self.threshold_s
            monitor.stale_from = 0.0

    # -- monitors -----------------------------------------------------------------------------

    def monitors(self) -> list[Monitor]:
        """The monitors of the loops that are alive."""
        found = [(ref, ref()) for ref in self._monitors]
        alive = [(ref, monitor) for ref, monitor in found if monitor is not None and _is_open(monitor)]
        if len(alive) != len(found):
            with self._lock:
                dead = {id(ref) for ref, monitor in found if monitor is None or not _is_open(monitor)}
                self._monitors = [ref for ref in self._monitors if id(ref) not in dead]
                for ref, monitor in found:
                    if monitor is not None and id(ref) in dead:
                        monitor.listed = False
        return [monitor for _, monitor in alive]

    def monitors_in_callbacks(self) -> list[Monitor]:
        """The monitors of the loops that are in a callback just now; often none. Takes no lock."""
        return [found for ref in self._monitors if (found := ref()) is not None and found.started != 0.0]

    def attach(self, loop: asyncio.AbstractEventLoop, kind: str) -> Monitor | None:
        """Give ``loop`` a monitor.

        Args:
            loop: a loop that has none.
            kind: value of ``event_loop.type``.

        Returns:
            The monitor; ``None`` when nobody listens, it is no loop, or it refuses the attribute.
        """
        with self._lock:
            if not self.listeners or not is_loop(loop):
                return None
            known = monitor_of(loop)
            if known is not None:
                return known
            monitor = Monitor(loop, kind, self)
            try:
                setattr(loop, ATTRIBUTE, monitor)
            except (AttributeError, TypeError):
                guard.failed("attach to a loop")
                return None
            self._list(monitor)
            self.loop_runs(loop)
            return monitor

    def succeed(self, loop: asyncio.AbstractEventLoop, now: float) -> bool:
        """Have the monitor of the loop that this thread has run before serve ``loop``, if it can.

        Args:
            loop: one that has none and begins to run, or is about to, on this thread.
            now: ``perf_counter``.

        Returns:
            Whether it does: ``loop`` has all that hooks left on the one before.
        """
        try:
            thread: LoopThread = self._here.thread
        except AttributeError:
            return False
        monitor = thread.monitor
        if monitor is None or type(loop) is not thread.loop_class or monitor.thread_id != thread.id:
            return False
        with self._lock:
            if self.heartbeat_interval_s > 0 or not self.listeners or not monitor.serve(loop, now):
                return False
            setattr(loop, ATTRIBUTE, monitor)
            for name, value in thread.loop_attributes:
                setattr(loop, name, value)
            if not monitor.listed:
                self._list(monitor)
        if self.watching:
            self.watchdog.start(loop)
        return True

    def may_succeed(
        self, loop: asyncio.AbstractEventLoop, monitor: Monitor, *attributes: tuple[str, Any]
    ) -> None:
        """Keep the monitor of ``loop`` for the next loop of this thread, where only blocks are looked for.

        Args:
            loop: that runs, on this thread.
            monitor: its monitor.
            *attributes: what else hooks have left on it, name and value: the next one gets the same.
        """
        if self.heartbeat_interval_s == 0:
            thread = self.thread()
            thread.monitor, thread.loop_class, thread.loop_attributes = monitor, type(loop), attributes

    def _list(self, monitor: Monitor) -> None:
        if len(self._monitors) >= self._room:
            self._room = 2 * len(self.monitors()) + MIN_ROOM
        self._monitors.append(weakref.ref(monitor))
        monitor.listed = True

    def thread(self) -> LoopThread:
        """The thread that calls this."""
        try:
            thread: LoopThread = self._here.thread
        except AttributeError:
            thread = self._here.thread = LoopThread()
        return thread

    def baseline(self, thread: LoopThread, reading: Reading) -> Reading:
        """The scheduler's counters for a loop that begins to run, where those of an earlier one are old.

        Reading them costs more than all the rest that is done for a new loop. Whoever makes loops one after
        the other in one thread, as tests do, gets those of an earlier one nevertheless where the thread has
        computed all the time since but for less than half a threshold: it can have waited for a CPU no longer
        than that.

        Args:
            thread: that runs it.
            reading: the clocks at this moment.
        """
        known, tick_s = thread.baseline, self.watchdog.tick_s
        if known is not None:
            passed = reading.at - known.at
            cpu, before = reading.thread_cpu, known.thread_cpu
            if cpu is not None and before is not None and passed - (cpu - before) < IDLE_TICKS * tick_s:
                return known
        fresh = thread.baseline = reading._replace(scheduling=cgroup.scheduling(thread.native_id))
        return fresh

    def loop_runs(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """A loop was attached or has begun to run: the watchdog must look from now on.

        Args:
            loop: that one; ``None``: any.
        """
        if self.watching:
            self.watchdog.start(loop)

    def unseen(self) -> bool:
        """Whether a loop runs, or can begin to, that the hook on ``run_forever`` does not see."""
        runs, sees = self.watchdog.runs, self._hooks.sees_runs
        for monitor in self.monitors():
            loop = monitor.loop()
            if loop is not None and loop not in runs and (loop.is_running() or not sees(loop)):
                return True
        return False

    def detach(self, monitor: Monitor) -> None:
        """Take from its loop what hooks have left on it."""
        loop = monitor.loop()
        if loop is not None:
            self._hooks.leave(loop)

    # -- the process --------------------------------------------------------------------------

    def forked(self) -> None:
        """In a forked child: the watchdog's thread is gone; loops get new monitors when they run."""
        self._lock = threading.RLock()
        self.watchdog.forget()
        for ref in self._monitors:  # whether they are closed is not asked: that may be the application's code
            monitor = ref()
            if monitor is not None:
                self.detach(monitor)
        self._monitors = []
        self._here = threading.local()

    def exiting(self) -> None:
        """At interpreter exit: no thread of ours runs while the interpreter is taken down."""
        self.watchdog.stop()


def _is_open(monitor: Monitor) -> bool:
    loop = monitor.loop()
    return loop is not None and not is_closed(loop)


registry = Registry()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=registry.forked)
atexit.register(registry.exiting)
