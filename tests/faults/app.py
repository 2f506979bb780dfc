"""The application: what its loop runs, and what it saw of that. The same at each run, with us and without."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

BLOCK_S = 0.008
"""Above the threshold that it is instrumented with."""

request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


class Boom(Exception):
    """The application's own."""


class Echo(asyncio.Protocol):
    """Sends back what it gets, and blocks before it does."""

    made = 0

    def connection_made(self, transport: Any) -> None:
        Echo.made += 1
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        time.sleep(BLOCK_S)
        self.transport.write(data.upper())

    def connection_lost(self, error: Exception | None) -> None:
        Echo.made -= 1


class Client(asyncio.Protocol):
    """Collects until the other side has sent enough."""

    def __init__(self, enough: int) -> None:
        self.enough = enough
        self.data = b""
        self.done = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) >= self.enough and not self.done.done():
            self.done.set_result(self.data)


class App:
    """One run of the application on one loop.

    Args:
        make_loop: makes it.
        provider: of its spans.
    """

    def __init__(self, make_loop: Callable[[], Any], provider: TracerProvider) -> None:
        self._make_loop = make_loop
        self._tracer = provider.get_tracer("app")
        self.seen: list[Any] = []
        """What it saw, in that order."""

    def run(self, meanwhile: Sequence[Callable[[], object]] = ()) -> None:
        """Run a loop, from its beginning to its end.

        Args:
            meanwhile: called within callbacks of it, and much is done again after each.
        """
        Echo.made = 0  # an interrupt may have ended the run before this one
        loop = self._make_loop()
        asyncio.set_event_loop(loop)
        loop.set_exception_handler(self._told)
        try:
            result = loop.run_until_complete(self._main(meanwhile))
            self.seen.append(("result", result))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
        self.seen.append(("closed", loop.is_closed(), Echo.made))

    def _told(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # A handle's repr has an address in it.
        message = str(context.get("message")).partition(" <")[0].partition(" App.")[0]
        self.seen.append(("exception handler", message, repr(error), request.get()))

    async def _main(self, meanwhile: Sequence[Callable[[], object]]) -> str:
        await self._callbacks()
        await self._requests()
        for each in meanwhile:
            asyncio.get_running_loop().call_soon(each)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await self._callbacks()
            await self._requests()
        if meanwhile:
            self._fork()
        await self._connections()
        await self._threads()
        await self._failures()
        await self._signals()
        return "done"

    # -- what it does ---------------------------------------------------------------------------

    async def _callbacks(self) -> None:
        loop = asyncio.get_running_loop()
        order: list[Any] = []
        soon, later, at = loop.create_future(), loop.create_future(), loop.create_future()
        for number in range(3):
            loop.call_soon(order.append, number)
        context = contextvars.copy_context()
        context.run(request.set, "its own")
        loop.call_soon(lambda: order.append(request.get()), context=context)
        cancelled = [
            loop.call_soon(order.append, "cancelled"),
            loop.call_later(0.001, order.append, "cancelled"),
        ]
        for handle in cancelled:
            handle.cancel()
        loop.call_soon(soon.set_result, "soon")
        order.append(await soon)
        # Which of two timers comes first, nobody can say on a busy machine.
        loop.call_later(0.002, later.set_result, "later")
        loop.call_at(loop.time() + 0.001, lambda: (time.sleep(BLOCK_S), at.set_result("at")))
        order += [await later, await at]
        objects = [[number] for number in range(20_000)]
        gc.collect()  # long enough to be noted
        del objects
        self.seen.append(("order", order, [handle.cancelled() for handle in cancelled]))

    async def _requests(self) -> None:
        """One blocks, and others wait for it."""

        async def handle(name: str, seconds: float) -> tuple[str, str]:
            token = request.set(name)
            with self._tracer.start_as_current_span(name, kind=SpanKind.SERVER) as span:
                span.set_attribute("http.route", f"/{name}")
                await asyncio.sleep(0.001)
                with self._tracer.start_as_current_span(f"{name} inner") as inner:
                    inner.add_event("mine", {"name": name})
                    time.sleep(seconds)
                await asyncio.sleep(0)
                result = request.get(), trace.get_current_span() is span
            request.reset(token)
            return name, f"{result}"

        names = [("quick", 0.0), ("slow", 3 * BLOCK_S), ("waits", 0.0)]
        self.seen.append(("requests", await asyncio.gather(*(handle(*each) for each in names))))
        with self._tracer.start_as_current_span("outer"):
            time.sleep(BLOCK_S)
            await asyncio.sleep(0)
        time.sleep(BLOCK_S)  # under no span
        await asyncio.sleep(0)
        self.seen.append(("context", request.get()))

    async def _connections(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        transport, client = await loop.create_connection(lambda: Client(5), "127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"stream\n")
        transport.write(b"hello")
        self.seen.append(("echo", await client.done, await reader.readline()))
        transport.close()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        server.close()
        await server.wait_closed()
        while Echo.made:  # the server's sides learn of it later
            await asyncio.sleep(0.001)

    async def _threads(self) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def elsewhere() -> None:
            time.sleep(0.002)
            loop.call_soon_threadsafe(done.set_result, "from a thread")

        thread = threading.Thread(target=elsewhere)
        thread.start()
        found = (
            await done,
            await loop.run_in_executor(None, sum, (1, 2)),
            await asyncio.to_thread(request.get),
        )
        thread.join()
        self.seen.append(("threads", found))

    async def _failures(self) -> None:
        loop = asyncio.get_running_loop()

        def fail() -> None:
            time.sleep(BLOCK_S)
            raise Boom("in a callback")

        async def fail_slowly() -> None:
            await asyncio.sleep(0)
            time.sleep(BLOCK_S)
            raise Boom("in a task")

        async def sleep() -> None:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                self.seen.append("cancelled")
                raise

        loop.call_soon(fail)
        results = await asyncio.gather(fail_slowly(), return_exceptions=True)
        self.seen.append(("failed", repr(results)))
        task = asyncio.ensure_future(sleep())
        await asyncio.sleep(0)
        task.cancel()
        results = await asyncio.gather(task, return_exceptions=True)
        self.seen.append(("cancelled", repr(results), task.cancelled()))
        try:
            await asyncio.wait_for(sleep(), 0.001)
        except asyncio.TimeoutError as error:
            self.seen.append(("timeout", type(error).__name__))
        span = self._tracer.start_span("failing")
        try:
            with trace.use_span(span, end_on_exit=True):
                raise Boom("under a span")
        except Boom as error:
            self.seen.append(("raised", repr(error)))

    async def _signals(self) -> None:
        loop = asyncio.get_running_loop()
        came, read = loop.create_future(), loop.create_future()
        one, other = socket.socketpair()
        with one, other:
            one.setblocking(False)
            loop.add_reader(one, lambda: (loop.remove_reader(one), read.set_result(one.recv(10))))
            loop.add_writer(one, lambda: (loop.remove_writer(one), self.seen.append("writable")))
            await asyncio.sleep(0.001)
            other.send(b"bytes")
            self.seen.append(("read", await read))
        loop.add_signal_handler(signal.SIGUSR1, came.set_result, "signal")
        os.kill(os.getpid(), signal.SIGUSR1)
        self.seen.append((await came, loop.remove_signal_handler(signal.SIGUSR1)))

    def _fork(self) -> None:
        child = os.fork()
        if not child:
            os._exit(7)
        self.seen.append(("forked", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
