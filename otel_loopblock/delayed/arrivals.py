"""What had come over connections by the end of a block: the kernel tells when, the loop's queue for whom.

The kernel keeps, per TCP connection, when data came last. And what a callback wakes, it puts at the end of
the loop's queue: so while an aftermath lasts, and only then, the monitor tells of every callback that ends,
and the tasks that data has woken are known together with the connection that it came over.
Nothing here knows OpenTelemetry.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import Context
from typing import Any, Final, TypeAlias

from otel_loopblock.delayed.queue import Queue
from otel_loopblock.delayed.tcp import last_data

MAX_LOOKS: Final = 250
"""Connections looked at per block, when they are made or read from; each takes a few microseconds."""

MAX_TASKS: Final = 100
"""Tasks looked for behind one of them."""

TELLING: Final = frozenset({"connection_made", "_read_ready", "data_received", "buffer_updated"})
"""What a loop calls when there is a connection, and when there is data: asyncio a method of the transport,
uvloop one of the protocol."""

TURNS_TO_READ: Final = 2
"""Turns from the one in which a connection is made to the first step of a task for what came on it."""

Woken: TypeAlias = "tuple[Context, asyncio.Task[Any]]"
"""A task that was woken, and the context that it runs in."""


class Arrivals:
    """Which tasks were woken by what came from the outside by the end of one block, which by what came later.

    Args:
        queue: of the loop.
    """

    __slots__ = ("_ended", "_expected", "_last", "_left", "_queue", "_ready", "_woken", "late")

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._ready = queue.ready
        self._ended = 0.0
        self._left = MAX_LOOKS
        self._last: Any = None
        self._expected: set[int] = set()
        self._woken: list[Woken] = []
        self.late: set[asyncio.Task[Any]] = set()
        """Tasks that were woken by data which came after the end."""

    def begin(self, ended: float) -> None:
        """Attend to callbacks from now on.

        Args:
            ended: ``perf_counter`` at the block's end.
        """
        self._ended = ended
        ready = self._ready
        self._last = ready[-1] if ready else None

    def end(self) -> None:
        """Keep nothing of the loop's: the last that was ready may be what led here, a circle."""
        self._last = None
        self._woken = []
        self.late = set()

    def expect(self, connection: int) -> None:
        """Know of a connection that a client had opened when the loop looked first after the block.

        Args:
            connection: its file descriptor.
        """
        self._expected.add(connection)

    def woken(self) -> list[Woken]:
        """The tasks woken, since this was asked last, by what had come by the end; they have not run yet."""
        woken, self._woken = self._woken, []
        return woken

    def callback_ended(self, callback: Any) -> bool:
        """Look at what a callback of the loop, which has just ended, has done.

        Returns:
            Whether it has made a connection that was opened by the end of the block.
        """
        ready = self._ready
        last, self._last = self._last, ready[-1] if ready else None
        name = getattr(callback, "__name__", "")
        if name not in TELLING or self._left <= 0:
            return False
        if name == "connection_made":
            self._left -= 1
            # As long as it has sent no data, this is when it was opened.
            data = last_data(_connection(_owner(callback)))
            return data is not None and data.latest <= self._ended
        queued = self._queue.read(behind(ready, last, MAX_TASKS))
        tasks = [
            (context, task)
            for context, woken, *_ in queued
            if isinstance(task := _owner(woken), asyncio.Task)
        ]
        if tasks:
            self._left -= 1
            self._data_has_woken(tasks, _connection(_owner(callback)))
        return False

    def _data_has_woken(self, tasks: list[Woken], connection: Any) -> None:
        if connection is None:
            return
        data = last_data(connection)
        if data is None:
            came = connection.fileno() in self._expected
        elif data.earliest > self._ended:
            came = False
            self.late.update(task for _, task in tasks)
        else:
            came = data.latest <= self._ended
        if came:
            self._woken += tasks


def behind(ready: deque[Any], last: Any, most: int) -> list[Any]:
    """What stands in a queue behind ``last``, or all of it; of more than ``most`` the last ones."""
    found: list[Any] = []
    # By index: another thread may add to it meanwhile.
    for place in range(1, min(most, len(ready)) + 1):
        if ready[-place] is last:
            break
        found.append(ready[-place])
    return found[::-1]


def _owner(callback: Any) -> Any:
    return getattr(callback, "__self__", None)


def _connection(owner: Any) -> Any:
    """The socket of a transport, or of the one that a protocol keeps, as protocols do."""
    transports: tuple[Any, ...] = (
        owner,
        getattr(owner, "transport", None),
        getattr(owner, "_transport", None),
    )
    for each in transports:
        if hasattr(each, "get_extra_info"):
            return each.get_extra_info("socket")
    return None
