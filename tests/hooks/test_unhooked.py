"""Loops that nothing hooks: seen by switches of contexts from Python 3.14 on, by the probe elsewhere."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import os
import socket
import sys
import threading
import time

import pytest
import uvloop

from otel_loopblock import LoopBlockInstrumentor, core, guard
from otel_loopblock.watch.loops import loops
from tests.core.test_context_watch import watchers

BLOCK_S = 0.06


class Unhooked(uvloop.loop.Loop, asyncio.AbstractEventLoop):
    """Built on the C class, past ``uvloop.Loop``."""


def _of(module):
    def make():
        return pytest.importorskip(module).new_event_loop()

    return make


MAKE = {"unhooked": Unhooked, "rloop": _of("rloop"), "zuvloop": _of("zuvloop")}
NAMES = {
    "rloop": "rloop.loop.RLoop",
    "zuvloop": "zuvloop._loop.EventLoop",
    "unhooked": f"{__name__}.Unhooked",
}

exact = pytest.mark.skipif(core.ContextWatch is None, reason="only the probe sees such a loop here")
# Where uvloop is idle another context is current than where it calls.
exact_kinds = pytest.mark.parametrize("kind", ["rloop", "zuvloop"], indirect=True)


@pytest.fixture(params=sorted(MAKE))
def kind(request):
    if request.param in ("rloop", "zuvloop"):
        pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def run(telemetry, kind):
    """Runs coroutines on one loop of this kind, which is known from the first span on."""
    telemetry.instrument()
    loop = MAKE[kind]()

    async def known(work):
        if loops.of(loop) is None:
            with telemetry.tracer.start_as_current_span("first"):
                pass
            await asyncio.sleep(0.03)
        return await work

    yield lambda work: loop.run_until_complete(known(work))
    loop.close()


def stall(seconds=BLOCK_S):
    time.sleep(seconds)


def blocks(telemetry):
    """What blocked in ``stall``: a busy machine makes other callbacks long as well."""
    found = [span.attributes for span in telemetry.spans("event_loop.blocked")]
    return [each for each in found if each.get("code.function.name", "").endswith(".stall")]


async def in_a_task():
    asyncio.get_running_loop().create_task(step())
    await asyncio.sleep(0.03)


async def step():
    stall()


async def by_call_soon():
    asyncio.get_running_loop().call_soon(stall)
    await asyncio.sleep(0.03)


async def by_call_later():
    asyncio.get_running_loop().call_later(0.005, stall)
    await asyncio.sleep(0.03)


async def by_call_soon_threadsafe():
    loop = asyncio.get_running_loop()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(stall,))
    thread.start()
    await asyncio.sleep(0.03)
    thread.join()


async def by_add_reader():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()

    def readable():
        ours.recv(1)
        stall()

    with ours, theirs:
        loop.add_reader(ours.fileno(), readable)
        theirs.send(b"x")
        await asyncio.sleep(0.03)
        loop.remove_reader(ours.fileno())


class Stalling(asyncio.Protocol):
    def data_received(self, data):
        stall()


async def in_data_received():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Stalling, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await asyncio.sleep(0.03)
    writer.write(b"x")
    await asyncio.sleep(0.15)
    writer.close()
    server.close()
    await asyncio.sleep(0.03)


WAYS = (in_a_task, by_call_soon, by_call_later, by_call_soon_threadsafe, by_add_reader, in_data_received)


@pytest.mark.parametrize("way", WAYS)
def test_block_in_a_callback_is_seen(telemetry, run, kind, way):
    run(way())

    found = blocks(telemetry)
    assert len(found) == 1, found
    assert found[0]["event_loop.type"] == NAMES[kind]
    assert found[0]["event_loop.block.call"] == "time.sleep"
    assert BLOCK_S - 0.02 < found[0]["event_loop.block.duration"] < BLOCK_S + 0.1


@exact
@exact_kinds
def test_context_watch_sees_each_way_but_one(run, kind):
    seen = {}

    def busy():
        (monitor,) = loops.monitors()
        return monitor.busy

    for way in WAYS:
        before = busy() if loops.monitors() else 0.0
        run(way())
        seen[way.__name__] = busy() - before > 0.9 * BLOCK_S

    blind = {"in_data_received"} if kind == "rloop" else set()  # a transport of rloop enters no context
    assert {name for name in seen if not seen[name]} == blind


@exact
@exact_kinds
def test_block_is_charged_to_the_span_it_is_in(telemetry, run):
    async def handle():
        with telemetry.tracer.start_as_current_span("GET /"):
            await asyncio.sleep(0.001)
            stall()
            await asyncio.sleep(0.001)

    run(handle())

    ((name, event),) = telemetry.events()
    assert name == "GET /"
    assert BLOCK_S - 0.002 < event.attributes["event_loop.block.duration"] < BLOCK_S + 0.1


def test_first_callback_counts_from_its_first_span_on(telemetry, kind):
    telemetry.instrument()
    loop = MAKE[kind]()

    async def main():
        with telemetry.tracer.start_as_current_span("GET /"):
            stall()

    loop.run_until_complete(main())
    loop.close()

    assert [name for name, _ in telemetry.events()] == ["GET /"]


@exact
@exact_kinds
def test_context_that_a_callback_enters_is_part_of_it(telemetry, run):
    def callback():
        for _ in range(10):
            contextvars.Context().run(stall, BLOCK_S / 10)

    async def main():
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0.03)

    run(main())

    (found,) = blocks(telemetry)
    assert found["event_loop.block.duration"] > BLOCK_S - 0.002


@exact
@exact_kinds
def test_many_short_callbacks_are_no_block(telemetry, run):
    async def main():
        for _ in range(20):
            asyncio.get_running_loop().call_soon(stall, 0.001)
        await asyncio.sleep(0.05)

    LoopBlockInstrumentor().uninstrument()
    telemetry.instrument(threshold_ms=15)
    run(main())

    assert [each for each in blocks(telemetry) if each["event_loop.block.duration"] < 0.05] == []


def test_loop_that_stands_still_between_two_runs_is_not_blocked(telemetry, run):
    run(asyncio.sleep(0.02))
    time.sleep(0.1)
    contextvars.Context().run(stall)
    run(asyncio.sleep(0.02))

    assert blocks(telemetry) == []
    durations = [
        span.attributes["event_loop.block.duration"] for span in telemetry.spans("event_loop.blocked")
    ]
    assert max(durations, default=0.0) < 0.1


def test_loop_that_takes_no_probe_is_left_alone(telemetry):
    class Refusing(Unhooked):
        def call_soon_threadsafe(self, callback, *args):
            return super().call_soon_threadsafe(callback, *args)

    telemetry.instrument()
    loop = Refusing()

    async def main():
        with telemetry.tracer.start_as_current_span("first"):
            pass
        await asyncio.sleep(0.05)
        (monitor,) = loops.monitors()
        return monitor.started

    assert loop.run_until_complete(main()) == 0.0
    loop.close()
    assert list(guard.failures) == ["probe a loop"]
    guard.failures.clear()


def test_uninstrumented_loop_is_let_go(telemetry, run):
    free = watchers() if core.ContextWatch is not None else 0
    run(asyncio.sleep(0.02))
    (monitor,) = loops.monitors()
    LoopBlockInstrumentor().uninstrument()
    busy = monitor.busy
    run_again = asyncio.sleep(0.02)

    run(run_again)
    assert (monitor.poll, monitor.started, monitor.busy) == (None, 0.0, busy)
    if core.ContextWatch is not None:
        assert watchers() == free

    telemetry.instrument()

    async def again():
        stall()

    run(asyncio.sleep(0.02))
    run(again())
    assert len(blocks(telemetry)) == 1


def test_forked_child_watches_a_loop_of_its_own(telemetry, kind):
    telemetry.instrument()

    async def main():
        with telemetry.tracer.start_as_current_span("first"):
            await asyncio.sleep(0.03)
        stall()
        await asyncio.sleep(0.01)

    loop = MAKE[kind]()
    loop.run_until_complete(main())
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            telemetry.exporter.clear()
            MAKE[kind]().run_until_complete(main())
            os.write(writing, b"%d" % len(blocks(telemetry)))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        assert answer.read() == b"1"
    os.waitpid(pid, 0)
    loop.close()


def test_thread_after_thread_with_a_loop_of_its_own(telemetry, kind):
    telemetry.instrument()
    found = []

    async def main():
        with telemetry.tracer.start_as_current_span("GET /"):
            await asyncio.sleep(0.02)
            stall(0.03)

    def work():
        loop = MAKE[kind]()
        loop.run_until_complete(main())
        loop.close()
        found.append(loops.of(loop))

    for _ in range(5):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    assert len(found) == 5
    assert len(telemetry.events()) == 5


@pytest.mark.skipif(sys.version_info < (3, 14), reason="zuvloop needs 3.14")
def test_both_are_there_where_they_should_be():
    """Where CI installs them, a test that is left out would not be missed."""
    if os.environ.get("LOOPBLOCK_ALL_LOOPS"):
        for module in ("rloop", "zuvloop"):
            importlib.import_module(module)
