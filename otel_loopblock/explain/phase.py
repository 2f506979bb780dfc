"""The part of a program's life that a block falls into: the start-up of a server, or none worth a word.

A block is start-up where it lies in code that a server runs to start, and its loop does not listen yet:
nobody waits for it then. The server is told by its modules on the stack. So a program without one has no
start-up, and what blocks it is said as ever. A loop listens once it is told to make a server, which is after
the lifespan's start-up and before the first request.

From then until somebody connects nobody waits either. But what of the application's runs in the background
by then will go on, and is said as ever: only the server's own, and what the machine does, is start-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from otel_loopblock.watch.evidence import RawFrame
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.servers import SERVERS

Phase: TypeAlias = 'Literal["startup"]'


def starts_server(frames: Sequence[RawFrame]) -> bool:
    """Whether a stack is of code that a server runs to start, or around all that it does."""
    return any(module in SERVERS and code.co_name != "<module>" for code, _, _, module in frames)


def phase_of(monitor: Monitor, began: float, *, is_of_server: bool, is_own: bool) -> Phase | None:
    """The phase of a stretch.

    Args:
        monitor: of its loop.
        began: its start, ``perf_counter``.
        is_of_server: whether its callback, in any look, or its task is of code that a server runs to start.
        is_own: whether the application's own code is to blame.

    Returns:
        ``None`` where there is nothing to be said of it.
    """
    if 0.0 < monitor.asked_since <= began:
        return None
    if 0.0 < monitor.listening_since <= began:
        return "startup" if not is_own else None
    return "startup" if is_of_server else None
