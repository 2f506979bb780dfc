"""What came by the end of a block and what only later: real connections, on both loops."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from functools import partial
from time import perf_counter

import pytest
from opentelemetry.trace import SpanKind

from otel_loopblock import guard
from otel_loopblock.delayed import aftermath, arrivals
from otel_loopblock.emit.emitter import Emitter
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.loops import loops
from tests.delayed.test_tcp import tcp_pair

BLOCK_S = 0.12
AFTER_S = 0.024
"""Less than a quarter of the block, more than the two ticks of most kernels."""
LATE_S = 0.05
"""More than a quarter of the block."""
OVER_S = BLOCK_S + LATE_S + 0.05

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when data came")


class Requests(asyncio.Protocol):
    """A server that makes a task, with a SERVER span, of whatever it receives, as uvicorn does."""

    def __init__(self, tracer, tasks):
        self._tracer = tracer
        self._tasks = tasks

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self._tasks.append(asyncio.get_running_loop().create_task(self._answer(data.decode())))

    async def _answer(self, name):
        with self._tracer.start_as_current_span(name, kind=SpanKind.SERVER):
            await asyncio.sleep(0)


class Service:
    """A server on the running loop, over TCP or on a path, and clients of it that never wait."""

    def __init__(self, telemetry, path=None):
        self._telemetry = telemetry
        self._path = path
        self._tasks = []
        self._clients = []

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        factory = partial(Requests, self._telemetry.tracer, self._tasks)
        if self._path is not None:
            self._server = await loop.create_unix_server(factory, self._path)
        else:
            self._server = await loop.create_server(factory, "127.0.0.1", 0)
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_):
        await asyncio.sleep(0.1)
        await asyncio.gather(*self._tasks)
        for client in self._clients:
            client.close()
        self._server.close()
        await asyncio.sleep(0.02)

    def connect(self):
        if self._path is not None:
            client = socket.socket(socket.AF_UNIX)
            client.connect(self._path)
        else:
            client = socket.create_connection(self._server.sockets[0].getsockname())
        self._clients.append(client)
        return client

    def ask(self, name, client=None):
        """Send a request that is called so, on a new connection where none is given."""
        (client or self.connect()).send(name.encode())


def stall(*events):
    """Block until the last of ``(seconds from now, what to do then)``."""
    began = perf_counter()
    for at, what in events:
        time.sleep(max(0.0, began + at - perf_counter()))
        what()


def nothing():
    pass


tasks = []


def block(telemetry, *events, then=nothing, hops=()):
    """Be the culprit; ``then`` is called in the same turn of the loop, each of ``hops`` in a later one."""
    loop = asyncio.get_running_loop()

    async def culprit():
        with telemetry.tracer.start_as_current_span("culprit", kind=SpanKind.SERVER):
            stall(*events, (BLOCK_S, nothing))

    def hop(first, *others):
        first()
        if others:
            loop.call_soon(hop, *others)

    tasks.append(loop.create_task(culprit()))
    loop.call_soon(then)
    if hops:
        loop.call_soon(hop, *hops)


def delayed(telemetry):
    """Names of the requests that waited for ``stall``, once each."""
    found = [
        span.name
        for span in telemetry.spans()
        for event in span.events
        if event.name == "event_loop.delayed"
        and event.attributes["event_loop.delay.culprit.function"] == f"{__name__}.stall"
    ]
    assert len(found) == len(set(found))
    return set(found)


@pytest.fixture(params=["tcp", "unix"])
def path(request, tmp_path):
    """Where a service listens; ``None`` for a port."""
    return str(tmp_path / "socket") if request.param == "unix" else None


def test_request_on_a_connection_opened_meanwhile_waited_those_sent_since_did_not(telemetry, run, path):
    telemetry.instrument(threshold_ms=60)
    hops = 12

    async def main():
        async with Service(telemetry, path) as service:
            kept = [service.connect() for _ in range(hops)]
            await asyncio.sleep(0.02)
            # One request in each turn of the loop while it accepts the new connection and reads from it.
            block(
                telemetry,
                (BLOCK_S / 2, partial(service.ask, "meanwhile, new")),
                (BLOCK_S / 2, partial(service.ask, "meanwhile, kept", kept[0])),
                hops=[nothing, *(partial(service.ask, f"later {n}", kept[n]) for n in range(1, hops))],
            )
            await asyncio.sleep(OVER_S)

    run(main())

    assert len(telemetry.spans()) == 1 + 2 + hops - 1
    assert delayed(telemetry) == {"meanwhile, new", "meanwhile, kept"}


def test_as_many_connections_as_are_opened_meanwhile_waited(telemetry, run):
    telemetry.instrument(threshold_ms=60)
    names = {f"meanwhile {n}" for n in range(12)}

    async def main():
        async with Service(telemetry) as service:
            block(telemetry, *((BLOCK_S / 2, partial(service.ask, name)) for name in names))
            await asyncio.sleep(OVER_S)

    run(main())

    # Without the kernel only those that are accepted at once are told from later ones.
    waited = delayed(telemetry)
    assert waited == names if sys.platform == "linux" else waited <= names


def test_connections_opened_since_did_not_wait(telemetry, run, path):
    telemetry.instrument(threshold_ms=60)
    hops = 12

    async def main():
        async with Service(telemetry, path) as service:
            block(
                telemetry,
                (BLOCK_S / 2, partial(service.ask, "meanwhile")),
                hops=[nothing, *(partial(service.ask, f"later {n}") for n in range(1, hops))],
            )
            await asyncio.sleep(OVER_S)

    run(main())

    assert len(telemetry.spans()) == 2 + hops - 1
    # Of those that are opened until the loop accepts the first, only the kernel can tell, and only of TCP.
    unknown = {"later 1"} if path is not None or sys.platform != "linux" else set()
    assert delayed(telemetry) - unknown == {"meanwhile"}


def ask_during_a_block_and_after(telemetry, run, connection, busy_s):
    """One request is sent in a block, another after ``busy_s`` more of the same turn of the loop."""
    telemetry.instrument(threshold_ms=60)

    async def main():
        async with Service(telemetry) as service:
            clients = [service.connect(), service.connect()] if connection == "kept" else [None, None]
            await asyncio.sleep(0.02)
            block(
                telemetry,
                (BLOCK_S / 2, partial(service.ask, "meanwhile", clients[0])),
                then=partial(stall, (busy_s, partial(service.ask, "later", clients[1]))),
            )
            await asyncio.sleep(OVER_S)

    run(main())


@on_linux
@pytest.mark.parametrize("connection", ["kept", "new"])
def test_request_that_came_while_the_loop_finished_its_turn_did_not_wait(telemetry, run, connection):
    ask_during_a_block_and_after(telemetry, run, connection, AFTER_S)

    assert len(telemetry.spans("later")) == 1
    assert delayed(telemetry) == {"meanwhile"}


@on_linux
@pytest.mark.parametrize("connection", ["kept", "new"])
def test_request_waited_though_the_loop_looks_for_it_late(telemetry, run, connection):
    ask_during_a_block_and_after(telemetry, run, connection, LATE_S)

    assert delayed(telemetry) == {"meanwhile"}


@pytest.mark.parametrize("connection", ["kept", "new"])
def test_of_what_the_loop_looks_for_late_nothing_is_said_without_the_kernel(
    telemetry, run, connection, tmp_path
):
    telemetry.instrument(threshold_ms=60)

    async def main():
        async with Service(telemetry, str(tmp_path / "socket")) as service:
            client = service.connect() if connection == "kept" else None
            await asyncio.sleep(0.02)
            ask = partial(service.ask, "meanwhile", client)
            block(telemetry, (BLOCK_S / 2, ask), then=partial(stall, (LATE_S, nothing)))
            await asyncio.sleep(OVER_S)

    run(main())

    assert len(telemetry.spans("meanwhile")) == 1
    assert delayed(telemetry) == set()


def test_connection_that_is_accepted_late_may_have_been_opened_since(telemetry, run, tmp_path):
    telemetry.instrument(threshold_ms=60)

    async def main():
        async with Service(telemetry, str(tmp_path / "socket")) as service:
            # The loop finds the first connection in the turn of the block, and accepts the second with it.
            service.ask("before")
            block(telemetry, then=partial(stall, (LATE_S, partial(service.ask, "later"))))
            await asyncio.sleep(OVER_S)

    run(main())

    assert len(telemetry.spans()) == 3
    assert "later" not in delayed(telemetry)


@on_linux
@pytest.mark.parametrize("came", ["meanwhile", "later"])
def test_request_that_reads_from_a_connection_waited_if_its_data_came_meanwhile(telemetry, run, came):
    telemetry.instrument(threshold_ms=60)

    async def main():
        ours, theirs = tcp_pair()
        reader, writer = await asyncio.open_connection(sock=ours)

        async def reading():
            with telemetry.tracer.start_as_current_span("reading", kind=SpanKind.SERVER):
                await reader.read(10)

        task = asyncio.ensure_future(reading())
        await asyncio.sleep(0.02)
        send = partial(theirs.send, b"x")
        block(
            telemetry,
            (BLOCK_S / 2, send if came == "meanwhile" else nothing),
            then=partial(stall, (AFTER_S, send if came == "later" else nothing)),
        )
        await task
        writer.close()
        theirs.close()
        await asyncio.sleep(0.02)

    run(main())

    assert delayed(telemetry) == ({"reading"} if came == "meanwhile" else set())


def test_callbacks_are_told_only_as_long_as_an_aftermath_lasts(telemetry, run, monkeypatch):
    telemetry.instrument(threshold_ms=60)
    told = []
    monkeypatch.setattr(
        arrivals.Arrivals,
        "callback_ended",
        lambda self, callback: told.append(loops.monitors()[0].threshold),
    )

    async def main():
        block(telemetry)
        await asyncio.sleep(OVER_S)
        (monitor,) = loops.monitors()
        count = len(told)
        for _ in range(100):
            await asyncio.sleep(0)
        return monitor.following, monitor.threshold, count

    following, threshold, count = run(main())

    assert following == ()
    assert threshold == demand.threshold_s == 0.06
    assert 2 <= count <= len(told) <= 40
    assert set(told) == {0.0}


def test_spans_that_end_in_short_callbacks_of_an_aftermath_are_not_looked_at(telemetry, run, monkeypatch):
    ended = []
    charge = Emitter.span_ending
    monkeypatch.setattr(
        Emitter,
        "span_ending",
        lambda self, monitor, span, *at: (ended.append(span.name), charge(self, monitor, span, *at)),
    )
    telemetry.instrument(threshold_ms=60)

    def work(left):
        with telemetry.tracer.start_as_current_span("short"):
            pass
        if left:
            asyncio.get_running_loop().call_soon(work, left - 1)

    async def main():
        block(telemetry, hops=[partial(work, 5)])
        await asyncio.sleep(OVER_S)

    run(main())

    assert len(telemetry.spans("short")) == 6
    assert ended == ["culprit"]
    assert [name for name, _ in telemetry.events()] == ["culprit"]


def test_no_more_connections_than_that_are_looked_at_and_the_turn_decides_on_the_rest(
    telemetry, run, monkeypatch
):
    telemetry.instrument(threshold_ms=60)
    monkeypatch.setattr(arrivals, "MAX_LOOKS", 2)
    asked = []
    monkeypatch.setattr(arrivals, "last_data", lambda connection: asked.append(connection))

    async def main():
        async with Service(telemetry) as service:
            kept = [service.connect() for _ in range(5)]
            await asyncio.sleep(0.02)
            ask = [(BLOCK_S / 2, partial(service.ask, f"{n}", client)) for n, client in enumerate(kept)]
            block(telemetry, *ask)
            await asyncio.sleep(OVER_S)

    run(main())

    assert len(asked) == 2
    assert delayed(telemetry) == {"0", "1", "2", "3", "4"}


def test_so_many_callbacks_are_attended_to_and_the_turn_decides_on_the_rest(telemetry, run, monkeypatch):
    telemetry.instrument(threshold_ms=60)
    monkeypatch.setattr(aftermath, "MAX_CALLBACKS", 5)
    monkeypatch.setattr(aftermath, "CALLBACKS_PER_S", 0)
    told = []
    monkeypatch.setattr(arrivals.Arrivals, "callback_ended", lambda self, callback: told.append(callback))
    thresholds = []

    async def main():
        async with Service(telemetry) as service:
            client = service.connect()
            await asyncio.sleep(0.02)
            block(telemetry, (BLOCK_S / 2, partial(service.ask, "meanwhile", client)))
            (monitor,) = loops.monitors()
            for _ in range(10):
                asyncio.get_running_loop().call_soon(lambda: thresholds.append(monitor.threshold))
            await asyncio.sleep(OVER_S)
            return monitor.following, monitor.threshold

    assert run(main()) == ((), 0.06)

    assert len(told) == 4
    assert set(thresholds[:3]) == {0.0}
    assert thresholds[-1] == 0.06
    assert delayed(telemetry) == {"meanwhile"}


def test_failure_to_tell_what_came_ends_the_aftermath_only(telemetry, run, monkeypatch):
    telemetry.instrument(threshold_ms=60)

    def fail(connection):
        raise LookupError(connection)

    monkeypatch.setattr(arrivals, "last_data", fail)

    async def main():
        async with Service(telemetry) as service:
            block(telemetry, (BLOCK_S / 2, partial(service.ask, "meanwhile")))
            await asyncio.sleep(OVER_S)
            (monitor,) = loops.monitors()
            return monitor.following, monitor.threshold

    assert run(main()) == ((), 0.06)

    assert len(telemetry.spans("meanwhile")) == 1
    assert dict(guard.failures) == {"look for what arrived": 1}
    guard.failures.clear()
