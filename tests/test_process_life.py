"""Processes, threads and loops that come and go: each reports its blocks, and nothing is left of them."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import threading
import time
import weakref
from concurrent.futures import ProcessPoolExecutor

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.watch.loops import loops
from tests.conftest import LOOPS, run_on

BLOCK_S = 0.05
IN_A_ROW = 1000
AT_ONCE = 100


async def block():
    await asyncio.sleep(0)
    time.sleep(BLOCK_S)


def blocks_of_a_child(kind):
    """In another process: instrument, block once, and say how many blocks were reported."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    LoopBlockInstrumentor().uninstrument()  # a forked child has its parent's
    LoopBlockInstrumentor().instrument(tracer_provider=provider, heartbeat_interval_ms=0)
    run_on(kind, block)
    LoopBlockInstrumentor().uninstrument()
    blocks = (span.attributes for span in exporter.get_finished_spans())
    # So many modules are new in a process that is spawned that the garbage collector may run for long.
    return [each["code.function.name"] for each in blocks if each["event_loop.block.duration"] >= BLOCK_S]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_process_of_a_pool_reports_its_own_block(telemetry, run, loop_kind, method):
    telemetry.instrument()
    run(block())
    context = multiprocessing.get_context(method)

    with ProcessPoolExecutor(1, mp_context=context) as pool:
        found = pool.submit(blocks_of_a_child, loop_kind).result(60)

    assert found == ["tests.test_process_life.block"]
    assert len(telemetry.spans("event_loop.blocked")) == 1


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("ended", ["closed", "abandoned"])
def test_nothing_is_left_of_a_thousand_loops(telemetry, loop_kind, ended):
    if (loop_kind, ended) == ("uvloop", "abandoned"):
        pytest.skip("uvloop keeps a loop that was not closed, with and without the package")
    before = threading.active_count()
    telemetry.instrument(heartbeat_interval_ms=1)

    async def main():
        await asyncio.sleep(0)

    def one():
        loop = LOOPS[loop_kind]()
        loop.run_until_complete(main())
        if ended == "closed":
            loop.close()

    for _ in range(50):
        one()
    gc.collect()
    descriptors, objects = _descriptors(), len(gc.get_objects())
    for _ in range(IN_A_ROW):
        one()
    gc.collect()

    assert len(loops.monitors()) <= IN_A_ROW / 100
    assert threading.active_count() <= before + 2  # the watchdog and the worker
    assert _descriptors() <= descriptors + 5
    assert len(gc.get_objects()) <= objects + IN_A_ROW / 2


def test_nothing_is_left_of_loops_whose_last_callback_blocked(telemetry, loop_kind):
    telemetry.instrument(threshold_ms=5)
    kept = []

    async def last():
        asyncio.get_running_loop().call_later(60, print)
        time.sleep(0.01)

    for _ in range(10):
        loop = LOOPS[loop_kind]()
        kept.append(weakref.ref(loop))
        loop.run_until_complete(last())
        loop.close()
        del loop
    assert len(telemetry.spans("event_loop.blocked")) >= 10
    gc.collect()

    assert sum(each() is not None for each in kept) <= 1


def test_each_of_a_hundred_loops_in_threads_reports_its_block(telemetry, loop_kind):
    telemetry.instrument(threshold_ms=20, max_events_per_second=1000)
    before = threading.active_count()
    together = threading.Barrier(AT_ONCE)

    def body():
        together.wait(60)
        run_on(loop_kind, block)

    threads = [threading.Thread(target=body) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    blocked = telemetry.spans("event_loop.blocked")
    assert len({span.attributes["thread.id"] for span in blocked}) == AT_ONCE
    gc.collect()
    assert len(loops.monitors()) == 0
    assert threading.active_count() <= before + 2  # the watchdog and the worker


def _descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
