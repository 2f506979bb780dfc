"""Who listens, and what follows from it: the hooks are in place while there is a listener.

The instrumentor's emitter is one listener, each ``detect_blocking`` in a test is another. They share
one set of hooks, one monitor per loop and one watchdog; the lowest threshold decides what is looked at.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from functools import partial

from otel_loopblock import guard
from otel_loopblock.hooks import Hooks
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Listener, listeners
from otel_loopblock.watch.watchdog import Watchdog, wait_for

_FORKED = "begin again in a forked child"


class Runtime:
    """Wires listeners, hooks, monitors and the watchdog of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.watchdog = Watchdog()
        self._hooks = Hooks()
        loops.attached = self._watch

    def add(self, listener: Listener) -> None:
        """Begin to tell ``listener``; the first one puts the hooks in place. An error leaves none."""
        try:
            with self._lock:
                self._add(listener)
        except BaseException:
            self.remove(listener)
            raise

    def _add(self, listener: Listener) -> None:
        self._tell((*listeners.now, listener))
        if len(listeners.now) == 1:
            self._hooks.install()
        self.cover()
        if loops.table:
            self._watch()
        if listener.heartbeat_interval_s > 0:
            for monitor in loops.monitors():
                self._hooks.beat(monitor)

    def cover(self) -> None:
        """See to it that the loop which runs in this thread, if any, is monitored."""
        with self._lock:
            loop = asyncio._get_running_loop()
            if loop is not None and listeners.now:
                self._hooks.cover(loop)

    def remove(self, listener: Listener) -> None:
        """Tell ``listener`` no more; the last one takes the hooks away and ends the thread.

        It may still be told what a thread has begun to tell. A loop that is full has been so until now.
        """
        ended: threading.Thread | None = None
        with self._lock:
            if listener in listeners.now:
                guard.call("tell what loops do", self.fetch_samples)
                guard.call("tell of a full loop", self.watchdog.fullness.finish, listener)
            self._tell(tuple(other for other in listeners.now if other is not listener))
            if not listeners.now:
                self._hooks.remove()
                loops.detach_all()
                ended = self.watchdog.end()
                self.watchdog.fullness.forget()
            else:
                for monitor in loops.monitors():
                    monitor.state.pop(listener, None)
                if not demand.watching:
                    ended = self.watchdog.end()
        wait_for(ended)  # without the lock: a loop of another thread may want it

    def drop(self, listener: Listener) -> None:
        """Undo what :meth:`remove` has failed to; nothing where it has not.

        Calls little of ours but what puts back: whatever has failed, the application gets its own.
        """
        with self._lock:
            listeners.now = tuple(other for other in listeners.now if other is not listener)
            if listeners.now:
                return
            demand.is_any = False
            if self._hooks.patches is not None:
                self._hooks.patches.restore()
            for monitor in list(loops.table.values()):
                monitor.loop, monitor.following, monitor.poll = None, (), None
            loops.table.clear()
            life = self.watchdog.life
            if life is not None:
                life.over.set()
                life.waiter.wake()

    def _tell(self, now: tuple[Listener, ...]) -> None:
        listeners.now = now
        tick_s, load = demand.tick_s, (demand.saturation_s, demand.samples)
        demand.take(now)
        for monitor in loops.monitors():
            if not monitor.following:  # they are told of every callback
                monitor.threshold = demand.threshold_s
        if demand.tick_s != tick_s or (demand.saturation_s, demand.samples) != load:
            loops.waiter.wake()  # the one before may be longer than what is to be seen now

    def fetch_samples(self) -> None:
        """Hand the listeners what loops were seen to do until now; any thread."""
        self.watchdog.fullness.hand_out(loops.waiter)

    def _watch(self) -> None:
        if demand.watching:
            self.watchdog.start()

    # -- the process --------------------------------------------------------------------------

    def forked(self) -> None:
        """In a forked child: the watchdog's thread is gone; loops get new monitors when they run."""
        self._lock = threading.RLock()
        guard.call_all(_FORKED, self.watchdog.forked, loops.forked)

    def exiting(self) -> None:
        """At interpreter exit: no thread of ours runs while the interpreter is taken down."""
        self.watchdog.stop()


runtime = Runtime()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(guard.call, _FORKED, runtime.forked))
atexit.register(partial(guard.call, "stop at exit", runtime.exiting))
