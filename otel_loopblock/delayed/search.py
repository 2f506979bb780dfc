"""The search for who had to wait for a callback, in one loop of whatever kind.

Nothing here runs unless a callback was over the threshold.
"""

from __future__ import annotations

import asyncio

from otel_loopblock import guard
from otel_loopblock.delayed import asyncio_queue, uvloop_queue
from otel_loopblock.delayed.aftermath import Aftermath
from otel_loopblock.delayed.queue import Foreseen, Queue
from otel_loopblock.watch.monitor import Monitor


class Search:
    """What is known of one loop; kept by whoever wants to know who waited there.

    Its methods get the loop's monitor. They do not keep it, because it keeps this.
    """

    __slots__ = ("_queue", "foreseen", "has_begun")

    def __init__(self) -> None:
        self._queue: Queue | None = None
        self.has_begun = False
        """Whether it is known how the loop keeps what waits: from the first block on."""
        self.foreseen: Foreseen | None = None
        """What was found last for the running callback."""

    def begin(self, monitor: Monitor, started: float) -> Aftermath | None:
        """Begin to find who waits for the running callback; on the loop's thread, when it ends.

        Args:
            monitor: of the loop.
            started: ``perf_counter`` at the callback's start.

        Returns:
            ``None`` where what waited for it cannot be seen.
        """
        queue = self._queue if self.has_begun else self._find_queue(monitor)
        return Aftermath(queue, started) if queue is not None else None

    def foresee(self, monitor: Monitor, started: float, now: float) -> Foreseen | None:
        """Find the timers that the running callback will have made wait; call it on the watchdog's thread.

        Loops have no order of them that could be read, and what is told of them lies all over the memory: to
        look for them takes longer than the rest of what is done when a callback has ended. A callback that
        waits, and does not compute, loses nothing by it.

        Args:
            monitor: of the loop.
            started: ``perf_counter`` at the callback's start.
            now: ``perf_counter``.

        Returns:
            What was found now; ``None`` where nothing had to be looked for.
        """
        queue, foreseen, lasted = self._queue, self.foreseen, now - started
        if queue is None or (
            foreseen is not None and foreseen.started == started and foreseen.until >= now + lasted
        ):
            return None
        until = now + 3 * lasted  # found again each time that it has lasted twice as long
        foreseen = self.foreseen = Foreseen(started, until, queue.upcoming(until))
        if monitor.is_over(started):  # nobody asks for it any more: it must not be kept until the next block
            self.foreseen = None
            return None
        return foreseen

    def forget(self) -> None:
        """Keep what was foreseen no longer: the callback has ended."""
        self.foreseen = None

    def _find_queue(self, monitor: Monitor) -> Queue | None:
        self.has_begun = True
        loop = monitor.get_loop()
        try:
            if isinstance(loop, asyncio.BaseEventLoop):
                self._queue = asyncio_queue.of(loop)
            # By what its hook calls it: without the hook its handles are of another shape.
            elif loop is not None and monitor.loop_type == "uvloop":
                self._queue = uvloop_queue.of(loop)
        except Exception:
            guard.failed("find what waits in a loop")
        return self._queue
