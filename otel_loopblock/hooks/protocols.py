"""Protocols on uvloop: their methods are called straight from libuv, so they are timed themselves.

The methods are replaced on the class of each protocol that a factory makes, once per class: a
protocol with ``__slots__`` cannot take them, an instance would be kept alive by its own wrappers, and
a protocol that takes over a transport later (``set_protocol``) is seen if its class was seen before.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from time import perf_counter
from types import MethodType
from typing import TYPE_CHECKING, Any

from otel_loopblock import guard
from otel_loopblock.monitor import Monitor

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches
    from otel_loopblock.registry import Registry

METHODS = (
    "connection_made",
    "data_received",
    "eof_received",
    "get_buffer",
    "buffer_updated",
    "connection_lost",
    "pause_writing",
    "resume_writing",
    "datagram_received",
    "error_received",
    "pipe_data_received",
    "pipe_connection_lost",
    "process_exited",
)
"""What a transport calls, after asyncio's protocol classes."""

FACTORY_FIRST = (
    "create_server",
    "create_connection",
    "create_unix_server",
    "create_unix_connection",
    "create_datagram_endpoint",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_exec",
    "subprocess_shell",
)
"""Methods of a loop that take a protocol factory first; ``start_tls`` takes a protocol."""

TURNS = 2
"""Until what came during a call has woken its tasks: libuv works off what it has received already, then
the loop runs its queue, and only then more is received."""

MAX_CLASSES = 1000
"""Protocol classes that are followed; an application that makes one per connection must not grow us."""


def install(patches: Patches, registry: Registry, loop_class: Any) -> None:
    """Have the methods of ``loop_class`` that make transports tell us the protocols' classes."""
    seen: set[type] = set()

    def cover(protocol: Any) -> None:
        kind = type(protocol)
        if kind in seen or len(seen) >= MAX_CLASSES or not patches.active:
            return
        seen.add(kind)
        try:
            for name in METHODS:
                if callable(getattr(kind, name, None)):
                    patches.replace(kind, name, lambda original: _make_method(original, registry))
        except Exception:  # a class implemented in C cannot be changed: the watchdog is all there is
            guard.failed(f"time the protocol {kind.__module__}.{kind.__qualname__}")

    def covering(factory: Any) -> Any:
        def make_protocol(*args: Any, **kwargs: Any) -> Any:
            protocol = factory(*args, **kwargs)
            cover(protocol)
            return protocol

        return make_protocol if callable(factory) else factory

    def make_transporter(original: Any) -> Callable[..., Any]:
        @functools.wraps(original, updated=())
        def transporter(self: Any, protocol_factory: Any, *args: Any, **kwargs: Any) -> Any:
            return original(self, covering(protocol_factory), *args, **kwargs)

        return transporter

    def make_start_tls(original: Any) -> Callable[..., Any]:
        @functools.wraps(original, updated=())
        def start_tls(self: Any, transport: Any, protocol: Any, *args: Any, **kwargs: Any) -> Any:
            cover(protocol)
            return original(self, transport, protocol, *args, **kwargs)

        return start_tls

    for name in FACTORY_FIRST:
        if hasattr(loop_class, name):
            patches.replace(loop_class, name, make_transporter)
    patches.replace(loop_class, "start_tls", make_start_tls)


def _make_method(original: Callable[..., Any], registry: Registry) -> Callable[..., Any]:
    running_loop = asyncio._get_running_loop

    def method(self: Any, *args: Any) -> Any:
        try:
            monitor: Monitor = running_loop()._loopblock_monitor  # type: ignore[union-attr]
        except AttributeError:
            return original(self, *args)
        # Called from a callback (every call on asyncio; super() and the like on uvloop): that one is timed.
        if monitor.started != 0.0:
            return original(self, *args)
        monitor.started = started = perf_counter()
        try:
            return original(self, *args)
        finally:
            ended = perf_counter()
            if ended - monitor.started >= monitor.threshold:
                monitor.callback_ended(ended, MethodType(original, self), None, TURNS)
            monitor.busy += ended - started
            monitor.started = 0.0

    registry.runners.add(method.__code__)
    return functools.wraps(original, updated=())(method)
