"""What is replaced takes the arguments that the original takes, and says the same of itself."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import signal
import socket
import sys

import pytest
import uvloop
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import Span, TracerProvider

from otel_loopblock import LoopBlockInstrumentor


class Protocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None = None) -> None:
        self.lost = True

    @staticmethod
    def data_received(data: bytes) -> None:
        """Nothing."""

    @classmethod
    def eof_received(cls) -> bool:
        return False

    eof_received.__func__.marked = "by the application"


REPLACED = {
    "asyncio": [
        (asyncio.Handle, "_run"),
        (asyncio.BaseEventLoop, "run_forever"),
        (asyncio.BaseEventLoop, "create_server"),
        (asyncio.SelectorEventLoop, "create_unix_server"),
    ],
    "sdk": [(Span, "end"), (Span, "start")],
    "uvloop": [
        (uvloop.Loop, name)
        for name in (
            "call_soon",
            "call_soon_threadsafe",
            "call_later",
            "call_at",
            "add_reader",
            "add_writer",
            "add_signal_handler",
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
            "start_tls",
            "run_forever",
        )
    ],
    "protocols": [
        (Protocol, name) for name in ("connection_made", "connection_lost", "data_received", "eof_received")
    ],
}
NO_ARGUMENTS = ("_run", "run_forever", "connection_lost", "eof_received", "end", "start")
ALL = [pytest.param(*each, id=f"{each[0].__name__}.{each[1]}") for all_ in REPLACED.values() for each in all_]


@pytest.fixture
def loop():
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def instance(loop):
    """One of each class by which its methods can be had."""
    other = asyncio.new_event_loop()
    handle = asyncio.Handle(print, (), other)
    span = TracerProvider().get_tracer("test").start_span("a")
    yield {
        uvloop.Loop: loop,
        asyncio.Handle: handle,
        asyncio.BaseEventLoop: other,
        asyncio.SelectorEventLoop: other,
        Span: span,
        Protocol: Protocol(),
    }
    other.close()


@pytest.fixture
def hooks():
    """A function that puts the hooks in place, for protocols of :class:`Protocol` as well."""

    def install():
        LoopBlockInstrumentor().instrument(threshold_ms=500, heartbeat_interval_ms=0)
        loop = uvloop.new_event_loop()
        loop.run_until_complete(serve(loop))
        loop.close()

    async def serve(loop):
        server = await loop.create_server(Protocol, "127.0.0.1", 0)
        transport, _ = await loop.create_connection(Protocol, *server.sockets[0].getsockname())
        transport.close()
        server.close()

    yield install
    if LoopBlockInstrumentor().is_instrumented_by_opentelemetry:
        LoopBlockInstrumentor().uninstrument()


def said_of(function):
    try:
        signature = str(inspect.signature(function))
    except ValueError:
        signature = "ValueError"
    names = ("__name__", "__qualname__", "__module__", "__doc__", "marked")
    return signature, *(getattr(function, name, None) for name in names), asyncio_is_coroutine(function)


def asyncio_is_coroutine(function):
    if sys.version_info >= (3, 12):
        return inspect.iscoroutinefunction(function)
    return asyncio.iscoroutinefunction(function)


def outcome(call):
    """What a call gives: the type of what it returns or raises."""
    try:
        result = call()
        if inspect.isawaitable(result):
            result.close()
        return type(result).__name__, ""
    except Exception as error:
        return type(error).__name__, str(error)


def test_all_that_is_replaced_is_looked_at_here(hooks):
    classes = {kind for all_ in REPLACED.values() for kind, _ in all_}
    before = {kind: dict(vars(kind)) for kind in classes}
    hooks()
    changed = {
        (kind, name)
        for kind in classes
        for name in vars(kind)
        if vars(kind)[name] is not before[kind].get(name)
    }

    assert changed == {each for all_ in REPLACED.values() for each in all_}


KINDS = ("function", "staticmethod", "classmethod", "Run", "Scheduler", "Method")
"""Of what stands in a class: a function, or an object of the compiled core that says it is one."""


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_signature_name_and_documentation_are_those_of_the_original(kind, name, hooks, instance):
    before, bound_before = getattr(kind, name), said_of(getattr(instance[kind], name))
    said = said_of(before)
    hooks()

    assert getattr(kind, name) != before
    assert said_of(getattr(kind, name)) == said
    assert said_of(getattr(instance[kind], name)) == bound_before
    assert type(inspect.getattr_static(kind, name)).__name__ in KINDS


@pytest.mark.parametrize(("kind", "name"), ALL)
@pytest.mark.parametrize(
    "arguments", [(), (None,) * 9, {"loopblock_unknown": 1}], ids=["none", "too many", "unknown keyword"]
)
def test_wrong_call_is_refused_as_by_the_original(kind, name, arguments, hooks, instance):
    positional, keywords = ((), arguments) if isinstance(arguments, dict) else (arguments, {})
    if name in NO_ARGUMENTS and not arguments:
        pytest.skip("this is no wrong call")

    def call():
        return outcome(lambda: getattr(instance[kind], name)(*positional, **keywords))

    bare = call()
    hooks()
    hooked = call()

    assert hooked[0] == bare[0]
    if hooked[1] != bare[1]:
        assert "<locals>" not in hooked[1]
        assert name in hooked[1]


CALLS = {
    "call_soon": {"callback": ..., "context": contextvars.Context()},
    "call_soon_threadsafe": {"callback": ..., "context": contextvars.Context()},
    "call_later": {"delay": 0.001, "callback": ..., "context": contextvars.Context()},
    "call_at": {"when": 0, "callback": ..., "context": contextvars.Context()},
}


@pytest.mark.parametrize("name", sorted(CALLS))
@pytest.mark.parametrize("on", [False, True])
def test_callback_that_is_passed_by_keyword_is_called(name, on, hooks, loop):
    if on:
        hooks()
    called = []

    async def main():
        getattr(loop, name)(**{**CALLS[name], "callback": lambda: called.append(name)})
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())

    assert called == [name]


@pytest.mark.parametrize("on", [False, True])
def test_readers_writers_and_signal_handlers_take_keywords(on, hooks, loop):
    if on:
        hooks()
    called = []
    one, other = socket.socketpair()
    one.setblocking(False)

    def reader():
        called.append("read")
        loop.remove_reader(one)

    def writer():
        called.append("write")
        loop.remove_writer(one)

    async def main():
        other.send(b"x")
        loop.add_reader(fileobj=one, callback=reader)
        await asyncio.sleep(0.01)
        loop.add_writer(fileobj=one, callback=writer)
        loop.add_signal_handler(sig=signal.SIGUSR1, callback=lambda: called.append("signal"))
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.sleep(0.01)
        loop.remove_signal_handler(signal.SIGUSR1)

    loop.run_until_complete(main())
    one.close()
    other.close()

    assert called == ["read", "write", "signal"]


@pytest.mark.parametrize("on", [False, True])
def test_signal_handler_that_is_a_coroutine_is_refused(on, hooks, loop):
    if on:
        hooks()

    async def handler():
        """Cannot be one."""

    async def main():
        for refused in (handler, coroutine):
            with pytest.raises(TypeError, match="coroutines cannot be used with add_signal_handler"):
                loop.add_signal_handler(signal.SIGUSR1, refused)
        with pytest.raises(RuntimeError, match="SIGCHLD"):
            loop.add_signal_handler(signal.SIGCHLD, print)

    coroutine = handler()
    loop.run_until_complete(main())
    coroutine.close()


@pytest.mark.parametrize("on", [False, True])
def test_transports_are_made_by_keyword(on, hooks, loop, tmp_path):
    if on:
        hooks()
    path = str(tmp_path / "socket")

    async def main():
        server = await loop.create_server(protocol_factory=Protocol, host="127.0.0.1", port=0)
        host, port = server.sockets[0].getsockname()
        yield await loop.create_connection(protocol_factory=Protocol, host=host, port=port)
        server.close()
        unix = await loop.create_unix_server(protocol_factory=Protocol, path=path)
        yield await loop.create_unix_connection(protocol_factory=Protocol, path=path)
        unix.close()
        yield await loop.create_datagram_endpoint(protocol_factory=Protocol, local_addr=("127.0.0.1", 0))
        one, other = socket.socketpair()
        yield await loop.connect_accepted_socket(protocol_factory=Protocol, sock=one)
        other.close()
        reading, writing = os.pipe()
        yield await loop.connect_read_pipe(proto_factory=Protocol, pipe=os.fdopen(reading, "rb", 0))
        yield await loop.connect_write_pipe(proto_factory=Protocol, pipe=os.fdopen(writing, "wb", 0))
        command = {"stdin": None, "stdout": None, "stderr": None}
        yield await loop.subprocess_exec(Protocol, sys.executable, "-c", "", **command)
        yield await loop.subprocess_shell(protocol_factory=Protocol, cmd="true", **command)
        transport, protocol = await loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
        with pytest.raises(TypeError, match="sslcontext is expected to be"):
            await loop.start_tls(transport=transport, protocol=protocol, sslcontext=None)
        yield transport, protocol

    async def talk():
        made = 0
        async for transport, protocol in main():
            assert type(protocol) is Protocol
            assert protocol.transport is transport
            transport.close()
            made += 1
            await asyncio.sleep(0.02)
        return made

    assert loop.run_until_complete(talk()) == 9


@pytest.mark.parametrize("on", [False, True])
def test_methods_of_protocols_take_keywords(on, hooks, loop):
    if on:
        hooks()

    async def main():
        protocol = Protocol()
        protocol.connection_made(transport=None)
        Protocol.connection_made(self=protocol, transport=None)
        protocol.connection_lost()
        protocol.connection_lost(exc=None)
        Protocol.data_received(data=b"")
        return Protocol.eof_received()

    assert loop.run_until_complete(main()) is False


@pytest.mark.parametrize("on", [False, True])
def test_spans_and_handles_take_keywords(on, telemetry):
    if on:
        telemetry.instrument()
    span = telemetry.tracer.start_span("a")
    Span.end(self=span, end_time=span.start_time + 5)
    other = telemetry.tracer._instrumentation_scope and telemetry.tracer.start_span("b", start_time=7)
    other.end()
    handle = asyncio.Handle(span.is_recording, (), asyncio.new_event_loop())
    asyncio.Handle._run(self=handle)
    handle._loop.close()
    again = object.__new__(Span)
    again.__dict__.update(telemetry.tracer.start_span("c").__dict__, _start_time=None)
    Span.start(self=again, start_time=9, parent_context=otel_context.Context())

    assert span.end_time - span.start_time == 5
    assert other.start_time == 7
    assert again.start_time == 9


def test_wrapper_of_somebody_else_keeps_its_own_arguments(monkeypatch, telemetry):
    """What a library has put around ``Span.end`` before us may take more than the SDK's own."""
    original, told = Span.end, []

    def end(self, end_time=None, *, reason=None):
        told.append(reason)
        original(self, end_time)

    monkeypatch.setattr(Span, "end", end)
    telemetry.instrument()
    telemetry.tracer.start_span("a").end(reason="over")
    LoopBlockInstrumentor().uninstrument()

    assert told == ["over"]
