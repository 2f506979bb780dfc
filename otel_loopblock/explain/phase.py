"""The part of a program's life that a block falls into: the start-up of a server, or none worth a word.

A block is start-up where it lies in code that a server runs to start, and its loop does not listen yet:
nobody waits for it then. The server is told by its modules on the stack. So a program without one has no
start-up, and what blocks it is said as ever. A loop listens once it is told to make a server, which is after
the lifespan's start-up and before the first request. To wait for the first request instead would take a look
at each connection, and would call what runs in the background until then start-up, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from otel_loopblock.watch.evidence import RawFrame

Phase: TypeAlias = 'Literal["startup"]'

SERVERS: Final = frozenset(
    {
        "aiohttp.web",
        "aiohttp.web_runner",
        "hypercorn.asyncio.lifespan",
        "hypercorn.asyncio.run",
        "uvicorn.lifespan.on",
        "uvicorn.server",
    }
)
"""Modules that start a server: on the stack of its start-up, its end and its main loop; of no request."""


def starts_server(frames: Sequence[RawFrame]) -> bool:
    """Whether a stack is of code that a server runs to start, or around all that it does."""
    return any(module in SERVERS and code.co_name != "<module>" for code, _, _, module in frames)


def phase_of(is_of_server: bool, began: float, listening_since: float) -> Phase | None:
    """The phase of a stretch.

    Args:
        is_of_server: whether its callback, in any look, or its task is of such code.
        began: its start, ``perf_counter``.
        listening_since: when its loop began to listen, ``perf_counter``; 0.0 where it has not yet.

    Returns:
        ``None`` where there is nothing to be said of it.
    """
    if 0.0 < listening_since <= began:
        return None
    return "startup" if is_of_server else None
