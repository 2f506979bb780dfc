"""Each time a loop begins to listen for connections: the start-up of a server on it is over then.

Called once per server and never per callback. A loop that listens in another way (``add_reader`` on a
socket of its own) is not seen here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.loops import loops


def install(patches: Patches) -> None:
    """Hook asyncio's own loops, and those derived from them."""
    replace_in(patches, asyncio.BaseEventLoop, "create_server")
    if "create_unix_server" in vars(asyncio.SelectorEventLoop):  # not on Windows
        replace_in(patches, asyncio.SelectorEventLoop, "create_unix_server")


def replace_in(patches: Patches, loop_class: Any, *methods: str) -> None:
    """Hook the methods of a class that make its loops listen."""
    for name in methods:
        patches.replace(loop_class, name, lambda original: _make(original, patches))


def _make(original: Callable[..., Any], patches: Patches) -> Callable[..., Any]:
    # The original says what is missing or too much.
    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        if patches.active:
            guard.call("see a loop begin to listen", _listens, self)
        return original(self, *args, **kwargs)

    return create


def _listens(loop: Any) -> None:
    monitor = loops.of(loop)
    if monitor is not None and monitor.listening_since == 0.0:
        monitor.listening_since = perf_counter()
