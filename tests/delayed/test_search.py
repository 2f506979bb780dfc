"""The search for who waited: the queue is chosen by the loop, and one that cannot be found harms nobody."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

from otel_loopblock import LoopBlockInstrumentor, guard
from otel_loopblock.delayed import asyncio_queue, uvloop_queue
from otel_loopblock.delayed.aftermath import Aftermath, aftermaths
from otel_loopblock.delayed.search import Search
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.target import Target
from tests.conftest import LOOPS


def test_queue_is_chosen_by_the_loop(telemetry, run, loop_kind):
    telemetry.instrument()

    async def main():
        await asyncio.sleep(0)
        (monitor,) = loops.monitors()
        return type(Search()._find_queue(monitor)).__name__

    assert run(main()) == {"asyncio": "AsyncioQueue", "uvloop": "UvloopQueue"}[loop_kind]


def test_nobody_is_told_where_nobody_can_tell_who_waited(telemetry, run, monkeypatch):
    telemetry.instrument()
    followed = []
    monkeypatch.setattr(Aftermath, "follow", lambda self, monitor, *args: followed.append(monitor.turns))

    async def main():
        await asyncio.sleep(0)
        (monitor,) = loops.monitors()
        emitter, target = LoopBlockInstrumentor()._emitter, Target(None, None)
        for turns in (2, 0):
            monitor.turns = turns
            emitter.callback_blocked(monitor, monitor.started, monitor.started + 0.1, target, None)

    run(main())

    assert followed == [2]


def test_block_is_reported_where_what_waits_cannot_be_found(telemetry, run, loop_kind, monkeypatch):
    telemetry.instrument()
    asked = []

    def fail(loop):
        asked.append(loop)
        raise ZeroDivisionError

    monkeypatch.setattr({"asyncio": asyncio_queue, "uvloop": uvloop_queue}[loop_kind], "of", fail)

    async def main():
        await asyncio.sleep(0)
        for _ in range(2):
            time.sleep(0.03)
            await asyncio.sleep(0)

    run(main())

    assert len(asked) == 1
    assert guard.failures.pop("find what waits in a loop") == 1
    assert not guard.failures
    assert len(telemetry.spans("event_loop.blocked")) == 2


def test_closed_loop_ends_an_aftermath(telemetry, loop_kind):
    telemetry.instrument()
    loop = LOOPS[loop_kind]()
    queue = {"asyncio": asyncio_queue, "uvloop": uvloop_queue}[loop_kind].of(loop)
    loop.close()
    ended = []
    monitor = SimpleNamespace(following=(), threshold=0.01, get_loop=lambda: loop)

    Aftermath(queue, 10.0).follow(monitor, 10.1, 2, SimpleNamespace(ended=lambda: ended.append(True)))

    assert ended == [True]
    assert monitor.following == ()


def test_uninstrumenting_ends_an_aftermath(telemetry, run):
    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        (monitor,) = loops.monitors()
        loop.call_soon(time.sleep, 0.03)
        loop.call_soon(lambda: seen.append(len(aftermaths(monitor))))
        loop.call_soon(LoopBlockInstrumentor().uninstrument)
        await asyncio.sleep(0.02)
        return monitor.following

    seen = []

    assert run(main()) == ()
    assert seen == [1]
