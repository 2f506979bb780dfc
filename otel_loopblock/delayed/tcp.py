"""When data came last over a TCP connection, as the kernel tells it."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from typing import Any, Final, NamedTuple

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter

INFO_BYTES: Final = 56
"""``struct tcp_info`` of the kernel up to ``tcpi_last_data_recv``, which is its last four bytes here:
milliseconds, in whole ticks."""

_CLOCK_MONOTONIC_COARSE: Final = 6


class _Kernel:
    """What this one is known to tell."""

    __slots__ = ("tells_age", "tick_s")

    def __init__(self) -> None:
        self.tells_age = False
        """Whether it has told any: one that stands in for Linux (gVisor) leaves the field at zero."""
        self.tick_s = 0.0
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self.tick_s = time.clock_getres(_CLOCK_MONOTONIC_COARSE)


_kernel = _Kernel()


class LastData(NamedTuple):
    """When the last data of a connection came, in ``perf_counter`` seconds."""

    earliest: float
    latest: float
    """Two ticks of the kernel later, of 1 to 10 ms each: it counts whole ticks."""


def last_data(connection: Any) -> LastData | None:
    """Ask the kernel when data came last.

    Args:
        connection: its socket, as a transport shows it, or ``None``.

    Returns:
        ``None`` where it does not tell: the connection is not TCP, this is not Linux, or nothing but zero
        has been told in this process so far.
    """
    tick_s = _kernel.tick_s
    if not tick_s or connection is None:
        return None
    before = perf_counter()
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, INFO_BYTES)
    except OSError as error:
        guard.let_through(error)
        return None
    after = perf_counter()
    if len(info) < INFO_BYTES:
        return None
    age = int.from_bytes(info[-4:], sys.byteorder) / 1000
    if age:
        _kernel.tells_age = True
    elif not _kernel.tells_age:
        return None
    return LastData(before - age - tick_s, after - age + tick_s)


def descriptor(transport: Any) -> int:
    """The file descriptor of a transport; -1 where it has none."""
    connection = transport.get_extra_info("socket")
    return int(connection.fileno()) if connection is not None else -1
