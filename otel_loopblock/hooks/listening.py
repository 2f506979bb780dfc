"""Each time a loop begins to listen for connections: the start-up of a server on it is over then.

Of a known server it is over when the first connection comes. Called once per server, and where that is known
once per connection; never per callback. A loop that listens in another way (``add_reader`` on a socket of its
own) is not seen here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.servers import called_by_server


def install(patches: Patches) -> None:
    """Hook asyncio's own loops, and those derived from them."""
    replace_in(patches, asyncio.BaseEventLoop, "create_server")
    if "create_unix_server" in vars(asyncio.SelectorEventLoop):  # not on Windows
        replace_in(patches, asyncio.SelectorEventLoop, "create_unix_server")


def replace_in(patches: Patches, loop_class: Any, *methods: str) -> None:
    """Hook the methods of a class that make its loops listen."""
    for name in methods:
        patches.replace(loop_class, name, lambda original: _make(original, patches))


FACTORY = "protocol_factory"

_PART = "see a loop begin to listen"


def _make(original: Callable[..., Any], patches: Patches) -> Callable[..., Any]:
    # The original says what is missing or too much.
    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        if patches.active:
            args = guard.call(_PART, _listens, self, args, kwargs, otherwise=args)
        return original(self, *args, **kwargs)

    return create


def _listens(loop: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Note that a loop listens; have the first connection to a known server noted by the factory."""
    monitor = loops.of(loop)
    if monitor is None or monitor.asked_since != 0.0:
        return args
    if monitor.listening_since == 0.0:
        monitor.listening_since = perf_counter()
    if not called_by_server():
        monitor.end_start_up()
    elif args:
        return _telling(args[0], monitor), *args[1:]
    elif FACTORY in kwargs:
        kwargs[FACTORY] = _telling(kwargs[FACTORY], monitor)
    return args


def _telling(factory: Any, monitor: Monitor) -> Any:
    def make_protocol(*args: Any, **kwargs: Any) -> Any:
        guard.call(_PART, monitor.end_start_up)
        return factory(*args, **kwargs)

    return make_protocol if callable(factory) else factory
