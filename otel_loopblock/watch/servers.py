"""Servers that are known: their start-up, and the time until somebody asks them, is no fault of a handler."""

from __future__ import annotations

import sys
from typing import Final

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

MAX_CALLERS = 10
"""Frames that are asked whose they are."""


def called_by_server() -> bool:
    """Whether what runs on this thread has been called by a known server."""
    frame = sys._getframe(1)
    for _ in range(MAX_CALLERS):
        if frame.f_globals.get("__name__") in SERVERS:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
