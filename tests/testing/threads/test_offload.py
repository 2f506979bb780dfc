"""Whether offloaded work really left the loop's thread."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import functools
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import anyio.to_thread
import pytest
from fastapi.concurrency import run_in_threadpool as fastapi_run_in_threadpool
from starlette.concurrency import run_in_threadpool

from otel_loopblock import guard
from otel_loopblock.testing import assert_offloaded, measure_offload
from tests.conftest import LOOPS

BLOCK_S = 0.06
TRIES = 3


@pytest.fixture(autouse=True)
def _nothing_fails():
    guard.failures.clear()
    yield
    assert not guard.failures


@pytest.fixture
def loop_factory(loop_kind):
    return LOOPS[loop_kind]


def work(seconds=BLOCK_S):
    time.sleep(seconds)
    return threading.get_ident()


async def in_to_thread():
    return await asyncio.to_thread(work)


async def in_default_executor():
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def in_own_executor():
    with ThreadPoolExecutor(1, thread_name_prefix="ours") as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, functools.partial(work, BLOCK_S))


async def in_starlette():
    return await run_in_threadpool(work, seconds=BLOCK_S)


async def in_fastapi():
    return await fastapi_run_in_threadpool(work)


async def in_anyio():
    return await anyio.to_thread.run_sync(work, BLOCK_S)


@pytest.mark.parametrize(
    ("coroutine_function", "pool"),
    [
        (in_to_thread, "thread"),
        (in_default_executor, "thread"),
        (in_own_executor, "thread"),
        (in_starlette, "anyio"),
        (in_fastapi, "anyio"),
        (in_anyio, "anyio"),
    ],
)
def test_each_way_of_offloading_is_seen(coroutine_function, pool, loop_factory):
    report = assert_offloaded(coroutine_function, loop_factory=loop_factory)
    (call,) = report.calls
    assert (call.function, call.pool) == ("tests.testing.threads.test_offload.work", pool)
    assert call.thread not in (None, report.loop_thread)
    assert 0.9 * BLOCK_S <= call.wall_s <= report.wall_s
    assert report.function == f"tests.testing.threads.test_offload.{coroutine_function.__name__}"
    assert "work ran in thread" in str(report)


def test_work_in_a_process_is_seen():
    with ProcessPoolExecutor(1) as pool:
        pool.submit(work, 0).result()

        async def in_process():
            return await asyncio.get_running_loop().run_in_executor(pool, work)

        (call,) = assert_offloaded(in_process).calls
    assert (call.pool, call.thread) == ("process", None)


def test_work_that_stayed_fails_with_its_line(loop_factory):
    async def stays():
        work()

    # On a machine so busy that all three runs lacked the CPU, no culprit is named.
    with pytest.raises(AssertionError, match=r"blocked: .*test_offload\.py:\d+: .*work|the loop stood still"):
        assert_offloaded(stays, loop_factory=loop_factory)


def test_offloading_a_trifle_and_working_on_the_loop_fails(loop_factory):
    async def pretends():
        await asyncio.to_thread(int)
        work()

    report = measure_offload(pretends, loop_factory=loop_factory)
    assert report.left_loop_thread
    assert not report.loop_kept_turning
    assert "GIL" not in report.reason
    with pytest.raises(AssertionError, match=r"own thread was blocked|the loop stood still"):
        assert_offloaded(pretends, loop_factory=loop_factory)


def test_nothing_offloaded_fails_though_the_loop_turned():
    async def idle():
        await asyncio.sleep(0.01)

    with pytest.raises(AssertionError, match="nothing was offloaded"):
        assert_offloaded(idle)


def test_offloaded_work_that_keeps_the_gil_is_told_apart(loop_factory):
    def keeps_the_gil():
        ctypes.PyDLL(None).usleep(200_000)

    async def offloads():
        await asyncio.to_thread(keeps_the_gil)

    def told():
        report = measure_offload(offloads, loop_factory=loop_factory)
        assert report.left_loop_thread
        assert report.standstill_s >= 0.02
        return report.blocks == () and report.standstill_gil_share > 0.5

    def refused():
        with pytest.raises(AssertionError) as raised:
            assert_offloaded(offloads, loop_factory=loop_factory)
        return "kept the GIL; use a process" in str(raised.value)

    assert any(told() for _ in range(TRIES))
    assert any(refused() for _ in range(TRIES))


def test_waiting_on_the_loop_for_offloaded_work_is_blocking_it(loop_factory):
    async def waits():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()

    report = measure_offload(waits, loop_factory=loop_factory)
    assert report.left_loop_thread
    assert not report.loop_kept_turning
    assert "GIL" not in report.reason
    if not report.blocks:
        pytest.skip(f"the machine is too busy: {report}")
    assert "the loop's own thread was blocked" in report.reason


def test_it_may_be_asked_inside_a_running_loop_and_sees_the_context():
    tenant = contextvars.ContextVar("tenant")

    async def offloads(seen):
        seen.append(await asyncio.to_thread(tenant.get))
        await asyncio.to_thread(work)

    async def main():
        tenant.set("shop")
        seen = []
        report = assert_offloaded(offloads, seen)
        return seen, report

    seen, report = asyncio.run(main())
    assert set(seen) == {"shop"}
    assert len(report.calls) == 2


def test_calls_of_other_threads_are_not_taken_for_its_own():
    stop = threading.Event()

    def elsewhere():
        with ThreadPoolExecutor(1) as pool:
            while not stop.is_set():
                pool.submit(int).result()

    other = threading.Thread(target=elsewhere)
    other.start()
    try:
        report = measure_offload(in_to_thread)
    finally:
        stop.set()
        other.join()
    assert [call.function for call in report.calls] == ["tests.testing.threads.test_offload.work"]


def test_everything_is_put_back():
    from anyio._backends._asyncio import AsyncIOBackend

    before = (
        vars(ThreadPoolExecutor)["submit"],
        vars(ProcessPoolExecutor)["submit"],
        vars(AsyncIOBackend)["run_sync_in_worker_thread"],
    )
    measure_offload(in_anyio)
    after = (
        vars(ThreadPoolExecutor)["submit"],
        vars(ProcessPoolExecutor)["submit"],
        vars(AsyncIOBackend)["run_sync_in_worker_thread"],
    )
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert not [t.name for t in threading.enumerate() if t.name.startswith("otel-loopblock-offload")]


def test_exception_reaches_the_caller_and_the_result_passes():
    async def fails():
        await asyncio.to_thread(work, 0)
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        measure_offload(fails)


def test_exception_of_the_offloaded_function_reaches_the_coroutine():
    seen = []

    async def offloads():
        try:
            await asyncio.to_thread(int, "x")
        except ValueError as error:
            seen.append(error)

    (call,) = measure_offload(offloads).calls
    assert "invalid literal" in str(seen[0])
    assert call.function == "builtins.int"


@pytest.mark.parametrize(
    ("fn", "options", "error", "message"),
    [
        (7, {}, TypeError, "7 is not callable"),
        (int, {}, TypeError, "it returned int, nothing to await"),
        (in_anyio, {"threshold_ms": 0}, ValueError, "threshold_ms=0 cannot be used"),
    ],
)
def test_what_cannot_be_measured_is_refused(fn, options, error, message):
    with pytest.raises(error, match=message):
        measure_offload(fn, **options)
