"""The thread pools of a loop as metrics: default executor and anyio's threads, on both loops."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio.to_thread
import pytest

from otel_loopblock import guard
from otel_loopblock.emit import executors
from otel_loopblock.local.receiver import ReceiverProcess
from tests.service.running import Service

METRICS = ("event_loop.executor.threads", "event_loop.executor.queue", "event_loop.executor.utilization")


def anyio_threads():
    return sum(thread.name == "AnyIO worker thread" for thread in threading.enumerate())


@pytest.fixture
def release():
    """Lets the threads that wait for it go on."""
    event = threading.Event()
    yield event
    event.set()


def read(telemetry, pool, loop_kind):
    """The three values of a pool; ``None`` where there is none."""
    attributes = {"event_loop.type": loop_kind, "event_loop.executor.type": pool}
    points = [telemetry.points(metric) for metric in METRICS]
    return tuple(
        next((point.value for point in found if dict(point.attributes) == attributes), None)
        for found in points
    )


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass in 10 s")


async def seen_elsewhere(telemetry, pool, loop_kind):
    """What a reader's thread sees."""
    found = []
    reader = threading.Thread(target=lambda: found.append(read(telemetry, pool, loop_kind)))
    reader.start()
    await until(lambda: not reader.is_alive())
    return found[0]


async def settles(telemetry, pool, loop_kind, expected):
    """Wait until a reader's thread sees this: a thread may take a moment to start or to come to rest."""
    seen = []
    for _ in range(200):
        seen.append(await seen_elsewhere(telemetry, pool, loop_kind))
        if seen[-1] == expected:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{expected} in none of {seen}")


def test_default_executor_is_seen_from_the_readers_thread(run, loop_kind, telemetry):
    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        assert await seen_elsewhere(telemetry, "default", loop_kind) == (None, None, None)  # not made yet
        loop.set_default_executor(ThreadPoolExecutor(4))
        # Once more after a backlog: up to Python 3.11 the executor then counts too many idle threads.
        for threads in (2, 4):
            release = threading.Event()
            try:
                calls = [loop.run_in_executor(None, release.wait, 30) for _ in range(2)]
                await settles(telemetry, "default", loop_kind, (threads, 0, 0.5))
                calls += [loop.run_in_executor(None, release.wait, 30) for _ in range(5)]
                await settles(telemetry, "default", loop_kind, (4, 3, 1.0))
            finally:
                release.set()
            await asyncio.gather(*calls)
            await settles(telemetry, "default", loop_kind, (4, 0, 0.0))

    run(main())


def test_executor_whose_threads_wait_elsewhere_has_no_utilization(run, loop_kind, telemetry):
    class Other(ThreadPoolExecutor):
        def _adjust_thread_count(self):
            super()._adjust_thread_count()

    telemetry.instrument()

    async def main():
        asyncio.get_running_loop().set_default_executor(Other(4))
        await asyncio.to_thread(int)
        return await seen_elsewhere(telemetry, "default", loop_kind)

    assert run(main()) == (1, 0, None)


def test_executor_that_the_loop_makes_by_itself_is_seen(run, loop_kind, telemetry, release):
    telemetry.instrument()

    async def main():
        waiting = asyncio.gather(*(asyncio.to_thread(release.wait, 30) for _ in range(100)))
        await asyncio.sleep(0)
        seen = await seen_elsewhere(telemetry, "default", loop_kind)
        release.set()
        await waiting
        return seen

    threads, queue, utilization = run(main())
    assert threads + queue == 100
    assert utilization == 1.0
    assert 1 <= threads <= 36


def test_threads_of_anyio_are_seen(run, loop_kind, telemetry, release):
    telemetry.instrument()

    async def main():
        before = await seen_elsewhere(telemetry, "anyio", loop_kind)
        calls = [asyncio.create_task(anyio.to_thread.run_sync(release.wait, 30)) for _ in range(50)]
        limiter = anyio.to_thread.current_default_thread_limiter()
        await until(lambda: limiter.statistics().tasks_waiting == 10)
        starved = await seen_elsewhere(telemetry, "anyio", loop_kind)
        limiter.total_tokens = 80
        await until(lambda: anyio_threads() >= 50)
        widened = await seen_elsewhere(telemetry, "anyio", loop_kind)
        release.set()
        await asyncio.gather(*calls)
        return before, starved, widened

    before, starved, widened = run(main())
    assert before == (None, None, None)
    assert starved == (40, 10, 1.0)
    assert widened == (50, 0, 50 / 80)


def test_limiter_without_a_limit_has_no_utilization(run, loop_kind, telemetry):
    telemetry.instrument()

    async def main():
        anyio.to_thread.current_default_thread_limiter().total_tokens = float("inf")
        await anyio.to_thread.run_sync(int)
        return await seen_elsewhere(telemetry, "anyio", loop_kind)

    assert run(main()) == (1, 0, None)


def test_pool_of_the_application_kept_on_the_loop_is_not_taken_for_the_default_one(run):
    async def main():
        loop = asyncio.get_running_loop()
        loop.ours = ThreadPoolExecutor(1)
        loop.ours.submit(int)
        found = executors.pools_of(loop)
        loop.ours.shutdown()
        return found

    assert run(main()) == []


def test_nothing_is_made_by_looking(run):
    async def main():
        loop = asyncio.get_running_loop()
        return executors.pools_of(loop), executors.default_executor(loop)

    assert run(main()) == ([], None)


def test_pool_without_the_private_names_is_left_out_and_the_other_one_seen(run, monkeypatch):
    class Strange(ThreadPoolExecutor):
        _idle_semaphore = None

        def __init__(self):
            super().__init__(1)
            self.queue, self._work_queue = self._work_queue, None

    async def main():
        loop = asyncio.get_running_loop()
        strange = Strange()
        loop.set_default_executor(strange)
        await anyio.to_thread.run_sync(int)
        found = executors.pools_of(loop)
        strange._work_queue = strange.queue
        return found

    guard.failures.clear()
    assert [pool.kind for pool in run(main())] == ["anyio"]
    assert guard.failures == {"look at a thread pool": 1}
    guard.failures.clear()


def test_nothing_is_observed_after_uninstrument(run, loop_kind, telemetry):
    telemetry.instrument()

    async def main():
        from otel_loopblock import LoopBlockInstrumentor

        await asyncio.to_thread(int)
        before = await seen_elsewhere(telemetry, "default", loop_kind)
        LoopBlockInstrumentor().uninstrument()
        return before, await seen_elsewhere(telemetry, "default", loop_kind)

    before, after = run(main())
    assert before[0] == 1
    assert after == (None, None, None)


@pytest.fixture(scope="module")
def receiver():
    with ReceiverProcess() as receiver:
        yield receiver


def test_starving_def_endpoints_of_fastapi_are_seen_over_otlp(loop_kind, receiver):
    receiver.reset()
    with Service("tests.service.pools:app", loop=loop_kind, endpoint=receiver.endpoint) as service:

        def seen(metrics):
            latest = {metric.name: metric for metric in metrics if metric.name in METRICS}
            wanted = {"event_loop.type": loop_kind, "event_loop.executor.type": "anyio"}
            values = [
                p.value
                for name in METRICS
                if name in latest
                for p in latest[name].points
                if p.attributes == wanted
            ]
            return values == [40, 20, 1.0]

        with ThreadPoolExecutor(60) as clients:
            waiting = [clients.submit(service.get, "/wait") for _ in range(60)]
            try:
                receiver.wait_for_metrics(seen)
            finally:
                service.get("/release")
            assert [done.result() for done in waiting] == [b"true"] * 60
