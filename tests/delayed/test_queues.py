"""What waits in a loop, read from its own queue and timers, on both loops."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket
import time
import weakref
from time import perf_counter

import pytest

from otel_loopblock.delayed import asyncio_queue, uvloop_queue
from otel_loopblock.delayed.arrivals import behind
from tests.conftest import LOOPS

variable = contextvars.ContextVar("variable", default=None)


def queue_of(loop_kind):
    module = asyncio_queue if loop_kind == "asyncio" else uvloop_queue
    return module.of(asyncio.get_running_loop())


def called(*args):
    pass


@pytest.fixture(params=["plain", "hooked"])
def hooked(request, telemetry):
    if request.param == "hooked":
        telemetry.instrument()


def test_ready_callbacks_are_read_in_order_with_context_and_arguments(hooked, run, loop_kind):
    async def main():
        loop = asyncio.get_running_loop()
        queue = queue_of(loop_kind)
        before = len(queue.ready)
        context = contextvars.Context()
        context.run(variable.set, "mine")
        loop.call_soon(called, 1, called, context=context)
        cancelled = loop.call_soon(called)
        cancelled.cancel()
        loop.call_soon(called, context=context)
        handles = list(queue.ready)[before:]
        assert [handle.cancelled() for handle in handles] == [False, True, False]
        return queue.read(handles), context

    queued, context = run(main())

    assert queued == [(context, called, (1, called), None), (context, called, (), None)]
    assert all(each[0] is context for each in queued)


def test_what_was_put_into_the_queue_since_is_told(hooked, run, loop_kind):
    async def main():
        loop = asyncio.get_running_loop()
        queue = queue_of(loop_kind)
        ready = queue.ready
        loop.call_soon(called, None)
        before = ready[-1]
        for number in range(3):
            loop.call_soon(called, number)
        told = [behind(ready, before, 10), behind(ready, before, 2), behind(ready, object(), 10)]
        told.append(behind(ready, ready[-1], 10))
        return [[arguments for _, _, arguments, _ in queue.read(handles)] for handles in told]

    everything, two, after_what_was_called, nothing = run(main())

    assert everything == [(0,), (1,), (2,)]
    assert two == [(1,), (2,)]
    assert after_what_was_called[-3:] == everything
    assert nothing == []


def test_woken_task_is_in_the_queue(hooked, run, loop_kind):
    async def main():
        queue = queue_of(loop_kind)
        future = asyncio.get_running_loop().create_future()

        async def wait():
            variable.set("task's own")
            await future

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        before = len(queue.ready)
        future.set_result(None)
        (queued,) = queue.read(list(queue.ready)[before:])
        await task
        return queued, task

    (context, callback, _, due), task = run(main())

    assert callback.__self__ is task
    assert context.get(variable) == "task's own"
    assert due is None


DELAYS_MS = (5000, 40, 30, 3000, 20, 10)


def test_timers_of_uvloop_are_told_by_the_time_they_come_due(hooked, telemetry):
    async def main():
        loop = asyncio.get_running_loop()
        queue = uvloop_queue.of(loop)
        now = perf_counter()
        timers = [
            loop.call_later(delay / 1000, called, context=contextvars.copy_context()) for delay in DELAYS_MS
        ]
        timers.append(loop.call_later(0.01, called, context=contextvars.Context()))
        timers[-1].cancel()
        variable.set("the sleeper's")
        sleeping = asyncio.ensure_future(asyncio.sleep(0.025))
        await asyncio.sleep(0)
        found = list(queue.timers(now + 0.034))
        future = sleeping._fut_waiter
        for timer in timers:
            timer.cancel()
        await sleeping
        return [(due - now, context.get(variable), sleep) for context, due, sleep in found], future

    loop = LOOPS["uvloop"]()
    try:
        found, future = loop.run_until_complete(main())
    finally:
        loop.close()

    told = sorted(found, key=lambda timer: timer[0])
    expected = ((10, None), (20, None), (25, "the sleeper's"), (30, None))
    for (due, value, sleep), (delay, of_context) in zip(told, expected, strict=True):
        assert due == pytest.approx(delay / 1000, abs=0.005)
        assert value == of_context
        assert sleep is (future if of_context else None)


def test_timers_of_asyncio_are_in_its_queue_when_their_time_has_come(hooked, telemetry):
    async def main():
        loop = asyncio.get_running_loop()
        queue = asyncio_queue.of(loop)
        now = perf_counter()
        for delay in DELAYS_MS:
            loop.call_later(delay / 1000, called, delay, context=contextvars.Context())
        time.sleep(0.034)
        found = []
        loop.call_soon(lambda: found.extend(queue.read(queue.ready)))
        before = queue.timers(now + 10)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return before, [
            (arguments[0], due - now) for _, callback, arguments, due in found if callback is called
        ]

    loop = LOOPS["asyncio"]()
    try:
        before, found = loop.run_until_complete(main())
    finally:
        loop.close()

    assert before == []
    assert [delay for delay, _ in found][:3] == [10, 20, 30]
    for delay, due in found:
        assert due == pytest.approx(delay / 1000, abs=0.005)


def test_connection_that_is_being_accepted_is_known(hooked, run, loop_kind):
    async def main():
        loop = asyncio.get_running_loop()
        queue = queue_of(loop_kind)
        transports = []

        class Accepting(asyncio.Protocol):
            def connection_made(self, transport):
                transports.append(transport)

        server = await loop.create_server(Accepting, "127.0.0.1", 0)
        await asyncio.sleep(0.01)
        client = socket.create_connection(server.sockets[0].getsockname())
        seen = []

        def look(turns):
            loop.call_soon(called)
            seen.extend(
                queue.opening(callback, arguments) for _, callback, arguments, _ in queue.read(queue.ready)
            )
            if turns:
                loop.call_soon(look, turns - 1)

        loop.call_soon(look, 3)
        await asyncio.sleep(0.01)
        connections = [made.get_extra_info("socket").fileno() for made in transports]
        client.close()
        server.close()
        return seen, connections

    seen, (connection,) = run(main())
    expected = {
        "asyncio": [(4, -1), (3, connection), (2, connection)],
        "uvloop": [(1, connection)],
    }[loop_kind]
    assert [step for step in dict.fromkeys(seen) if step in expected] == expected
    assert None in seen


def test_queue_of_asyncio_does_not_keep_its_loop_alive(telemetry):
    loop = asyncio.new_event_loop()
    queue = asyncio_queue.of(loop)
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()

    assert gone() is None
    assert list(queue.ready) == queue.timers(perf_counter()) == []


def test_loop_without_the_known_queue_has_none(telemetry):
    loop = asyncio.new_event_loop()
    loop.close()
    del loop._ready

    assert asyncio_queue.of(loop) is None


def test_too_many_timers_are_not_looked_at(telemetry, run, loop_kind, monkeypatch):
    monkeypatch.setattr({"asyncio": asyncio_queue, "uvloop": uvloop_queue}[loop_kind], "MAX_TIMERS", 3)

    async def main():
        loop = asyncio.get_running_loop()
        queue = queue_of(loop_kind)
        before = len(queue.upcoming(perf_counter() + 1))
        counts = []
        timers = []
        for _ in range(4):
            timers.append(loop.call_later(0.01, called))
            counts.append(len(queue.upcoming(perf_counter() + 1)))
        for timer in timers:
            timer.cancel()
        return before, counts

    assert run(main()) == (0, [1, 2, 3, 0])


def test_upcoming_timers_are_told_with_handle_context_and_time(telemetry, run, loop_kind):
    async def main():
        loop = asyncio.get_running_loop()
        queue = queue_of(loop_kind)
        now = perf_counter()
        own = contextvars.Context
        timers = [loop.call_later(delay / 1000, called, context=own()) for delay in (10, 20, 15, 900)]
        timers[2].cancel()
        found = queue.upcoming(now + 0.5)
        for timer in timers:
            timer.cancel()
        return timers, sorted((due - now, handle, in_it, future) for handle, in_it, due, future in found)

    timers, found = run(main())

    assert [each[1] for each in found] == timers[:2]
    assert [each[0] for each in found] == pytest.approx([0.01, 0.02], abs=0.005)
    assert all(isinstance(each[2], contextvars.Context) and each[3] is None for each in found)


def test_timers_of_uvloop_found_before_are_told_if_they_are_due_and_not_cancelled_since(telemetry):
    async def main():
        loop = asyncio.get_running_loop()
        queue = uvloop_queue.of(loop)
        now = perf_counter()
        timers = [
            loop.call_later(delay / 1000, called, context=contextvars.Context()) for delay in (10, 20, 30)
        ]
        found = queue.upcoming(now + 1)
        timers[1].cancel()
        told = list(queue.timers(now + 0.025, found))
        for timer in timers:
            timer.cancel()
        return {handle: in_it for handle, in_it, *_ in found}[timers[0]], told

    loop = LOOPS["uvloop"]()
    try:
        in_it, told = loop.run_until_complete(main())
    finally:
        loop.close()

    assert [each[0] for each in told] == [in_it]
