"""Protocols on uvloop: their methods are called straight from libuv, so they are timed themselves.

The methods are replaced on the class of each protocol that a factory makes, once per class: a
protocol with ``__slots__`` cannot take them, an instance would be kept alive by its own wrappers, and
a protocol that takes over a transport later (``set_protocol``) is seen if its class was seen before.

A method is replaced in the class that defines it: a copy in a subclass would hide what the application does
to the base later. What is no plain, static or class method (a mock, say) is left as it is, and not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodDescriptorType
from typing import Any

from otel_loopblock import core, guard
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.loops import loops

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

FACTORY_NAMES = ("protocol_factory", "proto_factory")
"""What they call it."""

_PART = "time the protocols of a transport"

TURNS = 2
"""Until what came during a call has woken its tasks: libuv works off what it has received already, then
the loop runs its queue, and only then more is received."""

MAX_CLASSES = 1000
"""Protocol classes that are followed; an application that makes one per connection must not grow us."""


def install(patches: Patches, loop_class: Any) -> None:
    """Have the methods of ``loop_class`` that make transports tell us the protocols' classes."""
    seen: set[int] = set()
    classes: list[type] = []  # keeps them, so that an id stays that of its class; some have no hash
    replaced: set[tuple[int, str]] = set()

    def cover(protocol: Any) -> None:
        kind = type(protocol)
        if id(kind) in seen or len(classes) >= MAX_CLASSES or not patches.active:
            return
        seen.add(id(kind))
        classes.append(kind)
        try:
            for name in METHODS:
                time_method(kind, name)
        except Exception:  # a class implemented in C cannot be changed: the watchdog is all there is
            guard.failed(f"time the protocol {kind.__module__}.{kind.__qualname__}")

    def time_method(kind: type, name: str) -> None:
        owner = next((each for each in kind.__mro__ if name in vars(each)), None)
        if owner is None or owner.__module__ == "asyncio.protocols":  # these do nothing
            return
        timed = _timed(vars(owner)[name], patches) if (id(owner), name) not in replaced else None
        if timed is None:
            return
        # Nobody can change a class in C, so a copy in the subclass next to it hides nothing.
        for each in reversed(kind.__mro__):
            if owner in each.__mro__:
                try:
                    patches.put(each, name, timed)
                    replaced.add((id(each), name))
                    return
                except (AttributeError, TypeError):
                    if each is kind:
                        raise

    def covering(factory: Any) -> Any:
        def make_protocol(*args: Any, **kwargs: Any) -> Any:
            protocol = factory(*args, **kwargs)
            guard.call(_PART, cover, protocol)
            return protocol

        return make_protocol if callable(factory) else factory

    # The original says what is missing or too much, so that its name for it is the one that is read.
    def make_transporter(original: Any) -> Callable[..., Any]:
        def transporter(self: Any, *args: Any, **kwargs: Any) -> Any:
            if patches.active:
                try:
                    if args:
                        args = (covering(args[0]), *args[1:])
                    for name in FACTORY_NAMES:
                        if name in kwargs:
                            kwargs[name] = covering(kwargs[name])
                except Exception:
                    guard.failed(_PART)
            return original(self, *args, **kwargs)

        return transporter

    def make_start_tls(original: Any) -> Callable[..., Any]:
        def start_tls(self: Any, *args: Any, **kwargs: Any) -> Any:
            guard.call(_PART, cover, args[1] if len(args) > 1 else kwargs.get("protocol"))
            return original(self, *args, **kwargs)

        return start_tls

    for name in FACTORY_FIRST:
        if hasattr(loop_class, name):
            patches.replace(loop_class, name, make_transporter)
    patches.replace(loop_class, "start_tls", make_start_tls)


def _timed(attribute: Any, patches: Patches) -> Any:
    """What takes the place of an attribute of a class; ``None`` where it is none of the known kinds."""
    if isinstance(attribute, (staticmethod, classmethod)):
        function = attribute.__func__
        return type(attribute)(_make_method(function, patches)) if _is_function(function) else None
    return _make_method(attribute, patches) if _is_function(attribute) else None


def _is_function(value: Any) -> bool:
    """Whether calling it with an instance is what calling it on the instance does; also of C and Cython."""
    kind = type(value)
    return kind is MethodDescriptorType or (hasattr(kind, "__get__") and hasattr(kind, "__code__"))


def _make_method(original: Callable[..., Any], patches: Patches) -> Any:
    return patches.switch(core.Method(original, loops.table, TURNS))
