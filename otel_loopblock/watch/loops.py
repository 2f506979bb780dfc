"""Which loops are monitored: a table from loops to monitors, which the core reads at each callback.

By the loop's id, and not as an attribute of the loop: on a loop of uvloop an attribute costs the hot path
more, and a loop with ``__slots__`` has none. A monitor is taken out when its loop dies.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import CodeType

from otel_loopblock import core, guard
from otel_loopblock.naming import printable
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.facts import is_loop
from otel_loopblock.watch.monitor import Monitor


class Loops:
    """The monitored loops of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.table: dict[int, Monitor] = {}
        """By the id of the loop; this very object for good."""
        self.waiter = core.Waiter()
        """The watchdog's sleep, which the first callback of a loop ends."""
        self.callers: set[CodeType] = set(core.CALLERS)
        """What runs callbacks: on a stack, all outside it is the loop and not the callback."""
        self.attached: Callable[[], object] = _nothing
        """Called when a loop has got a monitor."""

    def of(self, loop: object) -> Monitor | None:
        """The monitor of ``loop``; asks nothing of the loop."""
        monitor = self.table.get(id(loop))
        return monitor if monitor is not None and monitor.get_loop() is loop else None

    def monitors(self) -> list[Monitor]:
        """Those of the loops that are alive and open."""
        return [monitor for monitor in list(self.table.values()) if monitor.is_open]

    def monitors_in_callbacks(self) -> list[Monitor]:
        """Those of the loops that are in a callback just now; often none. Asks nothing of a loop."""
        return [monitor for monitor in list(self.table.values()) if monitor.started != 0.0]

    def attach(self, loop: asyncio.AbstractEventLoop, kind: str) -> Monitor | None:
        """Give ``loop`` a monitor, or return the one it has.

        Args:
            loop: any.
            kind: value of ``event_loop.type``.

        Returns:
            ``None`` when nobody listens, it is no loop, or nothing can refer to it weakly.
        """
        with self._lock:
            if not demand.is_any or not is_loop(loop):
                return None
            monitor = self.of(loop)
            if monitor is not None:
                return monitor
            key = id(loop)
            monitor = Monitor(printable(kind))
            try:
                monitor.loop = weakref.ref(loop, core.postponing(partial(self._forget, key)))
            except TypeError:
                guard.failed("attach to a loop")
                return None
            self.table[key] = monitor
            monitor.waiter = self.waiter  # only now: a new one is given to those in the table
            self.waiter.refresh()
        self.attached()
        return monitor

    def _forget(self, key: int, died: object) -> None:
        # Called in the middle of anything: takes no lock, and is not even counted, as that may log.
        try:
            monitor = self.table.get(key)
            if monitor is not None and monitor.loop is died:
                self.table.pop(key, None)
                monitor.release()
        except Exception as error:
            guard.let_through(error)

    def new_waiter(self) -> core.Waiter:
        """Give every monitor another sleep of the watchdog: each thread of it has its own.

        Takes no lock: the watchdog calls it with its own.
        """
        self.waiter = waiter = core.Waiter()
        for monitor in list(self.table.values()):
            monitor.waiter = waiter
        return waiter

    def detach_all(self) -> None:
        """Time no loop any more; callbacks that run are told of no more."""
        with self._lock:
            monitors = list(self.table.values())
            self.table.clear()
            for monitor in monitors:
                monitor.loop = None
                monitor.following = ()
                monitor.poll = None

    def forked(self) -> None:
        """In a forked child: loops get new monitors when they run."""
        self._lock = threading.RLock()
        self.waiter = core.Waiter()  # that of the watchdog that is not there may be in any state
        self.detach_all()


def _nothing() -> None:
    """Nobody wants to know."""


loops = Loops()
"""The one of this process."""
