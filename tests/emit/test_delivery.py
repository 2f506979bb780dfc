"""Exporters that are slow, hang or fail: neither the loop, nor the watchdog, nor the end waits for them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from otel_loopblock import LoopBlockInstrumentor, guard
from tests.conftest import LOOPS
from tests.service.running import ROOT

BLOCK_S = 0.03


class Exporter(SpanExporter):
    """Does ``act`` at each export."""

    def __init__(self, act):
        self.act = act
        self.exported = []
        self.threads = set()

    def export(self, spans):
        self.threads.add(threading.get_ident())
        self.exported.extend(spans)
        self.act()
        return SpanExportResult.SUCCESS


@pytest.fixture
def instrument(telemetry):
    """Instruments with an exporter that does something; returns that."""

    def instrument(act, **options):
        exporter = Exporter(act)
        telemetry.tracer_provider = TracerProvider()
        telemetry.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
        telemetry.instrument(**options)
        return exporter

    return instrument


@pytest.fixture
def hang(telemetry):  # that looks for our threads afterwards
    over = threading.Event()
    yield over
    over.set()


async def blocks(count):
    for _ in range(count):
        await asyncio.sleep(0.01)
        time.sleep(BLOCK_S)


def test_slow_exporter_leaves_each_block_its_stack(instrument, run):
    exporter = instrument(lambda: time.sleep(0.1))
    run(blocks(12))
    LoopBlockInstrumentor().uninstrument()  # some may be left undelivered

    found = [span.attributes["event_loop.block.samples"] for span in exporter.exported]
    assert len(found) >= 4
    assert found.count(0) <= len(found) / 3  # a machine that stands still may spoil some looks
    assert threading.get_ident() not in exporter.threads


@pytest.mark.parametrize("on_loop", [True, False])
def test_uninstrument_waits_for_no_exporter_that_hangs(instrument, run, hang, on_loop):
    instrument(lambda: hang.wait(60))
    took = []

    def uninstrument():
        began = time.perf_counter()
        LoopBlockInstrumentor().uninstrument()
        took.append(time.perf_counter() - began)

    async def main():
        await blocks(3)
        await asyncio.sleep(0.05)
        if on_loop:
            uninstrument()

    run(main())
    if not on_loop:
        uninstrument()

    assert took[0] < 1.9  # a second, and what a busy machine adds


def test_uninstrument_on_the_loop_delivers_what_is_pending(instrument, run):
    exporter = instrument(lambda: time.sleep(0.02))

    async def main():
        await blocks(3)
        LoopBlockInstrumentor().uninstrument()
        return len(exporter.exported)

    assert run(main()) == 2  # the third block had not ended
    assert threading.get_ident() not in exporter.threads


def test_exporter_may_uninstrument(instrument, run):
    done = threading.Event()

    def uninstrument():
        LoopBlockInstrumentor().uninstrument()
        done.set()

    instrument(uninstrument)
    run(blocks(1))

    assert done.wait(30)
    assert not LoopBlockInstrumentor().is_instrumented_by_opentelemetry


def test_exporter_of_a_hang_does_not_take_the_looks(instrument, run, hang):
    exporter = instrument(lambda: hang.wait(60), hang_after_ms=50)

    async def main():
        await asyncio.sleep(0.01)
        time.sleep(0.3)

    run(main())
    hang.set()
    LoopBlockInstrumentor().uninstrument()

    ongoing = [span for span in exporter.exported if "event_loop.block.ongoing" in span.attributes]
    (block,) = [span for span in exporter.exported if span not in ongoing]
    assert len(ongoing) >= 2
    assert block.attributes["event_loop.block.samples"] >= 2


def test_forked_child_delivers_its_own_blocks_and_the_parent_what_was_pending(instrument, loop_kind, hang):
    exporter = instrument(lambda: hang.wait(60))
    loop = LOOPS[loop_kind]()
    loop.run_until_complete(blocks(3))
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            exporter.exported.clear()
            exporter.act = lambda: None
            loop = LOOPS[loop_kind]()
            loop.run_until_complete(blocks(1))
            LoopBlockInstrumentor().uninstrument()
            os.write(writing, str(len(exporter.exported)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 1000) == b"1"
    os.waitpid(pid, 0)
    os.close(reading)
    hang.set()
    loop.close()
    LoopBlockInstrumentor().uninstrument()

    assert len(exporter.exported) == 3


@pytest.mark.parametrize("first", ["ours", "provider", "instrument"])
def test_what_is_pending_at_exit_is_delivered_before_exporters_shut_down(first, loop_kind):
    ours = "from otel_loopblock import LoopBlockInstrumentor; import otel_loopblock.instrumentor"
    provider = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
class Exporter(SpanExporter):
    def export(self, spans):
        time.sleep(0.05)
        for span in spans:
            print("exported", flush=True)
        return SpanExportResult.SUCCESS
    def shutdown(self):
        print("shut down", flush=True)
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Exporter()))
trace.set_tracer_provider(provider)
"""
    instrument = "LoopBlockInstrumentor().instrument(log_interval_ms=10**6)"
    parts = {
        "ours": [ours, provider, instrument],
        "provider": [provider, ours, instrument],
        "instrument": [ours, instrument, provider],
    }
    code = "\n".join(
        [
            "import asyncio, time, uvloop",
            *parts[first],
            "async def main():",
            "    for _ in range(4):",
            "        await asyncio.sleep(0.01); time.sleep(0.03)",
            f"loop = uvloop.new_event_loop() if {loop_kind!r} == 'uvloop' else asyncio.new_event_loop()",
            "loop.run_until_complete(main())",
        ]
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert done.stdout.split("\n") == ["exported"] * 4 + ["shut down", ""], done.stderr


def test_exporter_that_hangs_at_exit_holds_the_process_for_a_second_at_most():
    code = """
import asyncio, atexit, threading, time
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from otel_loopblock import LoopBlockInstrumentor
class Exporter(SpanExporter):
    def export(self, spans):
        time.sleep(60)
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(Exporter()))
LoopBlockInstrumentor().instrument(tracer_provider=provider)
async def main():
    await asyncio.sleep(0.01)
    time.sleep(0.03)
atexit.register(lambda: print(time.perf_counter() - ended))
asyncio.run(main())
ended = time.perf_counter()
atexit.unregister(print)
"""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert 0.9 < float(done.stdout) < 3.0
    assert time.perf_counter() - began < 20


def test_failing_exporter_is_counted_and_hurts_nobody(instrument, run):
    def fail():
        raise SystemExit("theirs")

    exporter = instrument(fail)
    run(blocks(3))
    LoopBlockInstrumentor().uninstrument()

    assert len(exporter.exported) == 3
    assert guard.failures.pop("emit telemetry") == 3
