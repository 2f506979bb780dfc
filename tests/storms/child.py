"""One storm in a process of its own: ``python -m tests.storms.child STORM LOOP off|on SECONDS``.

Prints a line of JSON: work done per second, CPUs used, how late timers ran, memory after a third of the time
and at its end, what the package says that it dropped or could not do, and how many blocks there were.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import logging
import os
import random
import resource
import socket
import sys
import threading
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import SpanKind

from tests.conftest import LOOPS

THRESHOLD_S = 0.01
BLOCK_S = 0.015
REPORTED_PER_S = 100.0
FEW_PER_S = 5.0
EXPORTS_S = 0.1
REQUESTS = 10_000
FRAMES = 900
BEAT_S = 0.01
HOSTILE = "<b onload=alert(1)>\u202e\x1b[31m\0\r\n漢😀" * 360
"""Ten kilobytes in UTF-8."""

provider = TracerProvider()
tracer = provider.get_tracer("storm")
done = 0
"""Units of work."""
planted = 0
"""Callbacks that were made long: each must be in the histogram, and reported, or be counted as left out."""
reports = 0


class Nobody(SpanExporter):
    """Takes everything and keeps nothing."""

    def export(self, spans):
        return SpanExportResult.SUCCESS


class Slow(SpanExporter):
    """Takes its time, on the thread that ends a span."""

    def export(self, spans):
        time.sleep(EXPORTS_S)
        return SpanExportResult.SUCCESS


class Counts(SpanProcessor):
    """Counts the blocks that are reported."""

    def on_end(self, span):
        global reports
        reports += span.name == "event_loop.blocked"


async def end_block(seconds: float) -> None:
    """End a callback that was long; go on after so many seconds."""
    global planted
    planted += 1
    await asyncio.sleep(seconds)


# -- what is blocked ----------------------------------------------------------------------------------------


async def every_callback_is_long() -> None:
    global done
    while True:
        with tracer.start_as_current_span("request"):
            time.sleep(1.2 * THRESHOLD_S)
            await end_block(0)
            time.sleep(1.2 * THRESHOLD_S)
        done += 1


async def no_spans_but_ours() -> None:
    global done
    while True:
        time.sleep(1.2 * THRESHOLD_S)
        await end_block(0)
        done += 1


async def requests_in_flight() -> None:
    async def request(number: int) -> None:
        global done
        with tracer.start_as_current_span(f"request {number % 50}"):
            await asyncio.sleep(random.random())
            while True:
                await asyncio.sleep(1)
                done += 1

    tasks = [asyncio.ensure_future(request(number)) for number in range(REQUESTS)]
    while tasks:
        time.sleep(BLOCK_S)
        await end_block(0.1 - BLOCK_S)


async def live_spans() -> None:
    global done
    spans = [tracer.start_span(f"span {number}") for number in range(REQUESTS)]
    while spans:
        with tracer.start_as_current_span("request"):
            time.sleep(BLOCK_S)
        await end_block(0.01)
        done += 1


async def deep_stack() -> None:
    global done

    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        else:
            time.sleep(BLOCK_S)

    sys.setrecursionlimit(FRAMES + 500)
    while True:
        with tracer.start_as_current_span("request"):
            deep(FRAMES)
        await end_block(0.01)
        done += 1


async def few_blocks() -> None:
    global done
    while True:
        with tracer.start_as_current_span("request"):
            time.sleep(BLOCK_S)
            await end_block(0.02)
        done += 1


async def hostile_names() -> None:
    """For each block a span, a task and a route that nobody has seen yet; a hundred functions and files."""
    global done

    def block() -> None:
        time.sleep(BLOCK_S)

    names = [f"{number}{HOSTILE}" for number in range(100)]
    codes = [block.__code__.replace(co_name=name, co_filename=f"/srv/{name}.py") for name in names]
    while True:
        name = f"{done}{HOSTILE}"
        code = codes[done % len(codes)]
        asyncio.current_task().set_name(name)
        with tracer.start_as_current_span(name, kind=SpanKind.SERVER, attributes={"http.route": name}):
            types.FunctionType(code, {"time": time, "BLOCK_S": BLOCK_S, "__name__": code.co_name})()
        await end_block(0.01)
        done += 1


async def clock_is_set() -> None:
    """The wall clock, as the SDK and the package read it, jumps by an hour back and forth."""
    real, hours = time.time_ns, (-1, 0, 1)

    def jumping() -> int:
        return real() + random.choice(hours) * 3_600_000_000_000

    for name, module in list(sys.modules.items()):
        if name.startswith(("opentelemetry.sdk.trace", "otel_loopblock.")) and hasattr(module, "time_ns"):
            module.time_ns = jumping
    await few_blocks()


# -- where it goes ------------------------------------------------------------------------------------------


@contextmanager
def nobody() -> Iterator[SpanExporter]:
    yield Nobody()


@contextmanager
def slow() -> Iterator[SpanExporter]:
    yield Slow()


@contextmanager
def gone() -> Iterator[SpanExporter]:
    yield OTLPSpanExporter("http://127.0.0.1:9/v1/traces", timeout=1)


@contextmanager
def answering(answer: bytes | None) -> Iterator[SpanExporter]:
    """A collector that takes what comes and says this; nothing: it never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    connection.recv(1000)
                    if answer is None:
                        held.append(connection)
                    else:
                        connection.sendall(answer)
                        connection.close()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        yield OTLPSpanExporter(f"http://127.0.0.1:{port}/v1/traces", timeout=1)


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def disk_full() -> Iterator[SpanExporter]:
    """Spans, log lines and what Python prints of errors go to such files."""
    logging.disable(logging.NOTSET)
    logging.basicConfig(stream=Full(), level=logging.DEBUG)
    with contextlib.redirect_stderr(Full()):
        yield ConsoleSpanExporter(out=Full())


FEW_REPORTS = "more blocks than are reported"

STORMS: dict[str, tuple[Callable[[], Awaitable[None]], Callable[[], contextlib.AbstractContextManager]]] = {
    "every callback is long": (every_callback_is_long, nobody),
    FEW_REPORTS: (few_blocks, nobody),
    "10,000 requests in flight": (requests_in_flight, nobody),
    "10,000 live spans": (live_spans, nobody),
    "a stack of 900 frames": (deep_stack, nobody),
    "names of 10 kB": (hostile_names, nobody),
    "the clock is set": (clock_is_set, nobody),
    "the disk is full": (few_blocks, disk_full),
    "the exporter is slow": (no_spans_but_ours, slow),
    "the collector is gone": (few_blocks, gone),
    "the collector does not answer": (few_blocks, lambda: answering(None)),
    "the collector answers nonsense": (few_blocks, lambda: answering(b"\x00\xff nonsense \r\n" * 100)),
}
"""What is done, and where its telemetry goes."""


async def beats(late: list[float]) -> AsyncIterator[None]:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(BEAT_S)
        late.append(time.perf_counter() - before - BEAT_S)
        yield


async def measured(storm: Callable[[], Awaitable[None]], seconds: float) -> dict[str, float]:
    """Let the storm go for so long; what came of it after a third of that."""
    late: list[float] = []

    async def beat() -> None:
        async for _ in beats(late):
            pass

    tasks = [asyncio.ensure_future(storm()), asyncio.ensure_future(beat())]
    await asyncio.sleep(seconds / 3)
    late.clear()
    began, cpu, before, memory = time.perf_counter(), time.process_time(), done, resident()
    await asyncio.sleep(2 * seconds / 3)
    took, used, after = time.perf_counter() - began, time.process_time() - cpu, done
    for task in tasks:
        if task.done():
            task.result()
    late.sort()
    return {
        "per_second": (after - before) / took,
        "cpu": used / took,
        "lag_p50_ms": late[len(late) // 2] * 1e3,
        "lag_p95_ms": late[int(len(late) * 0.95)] * 1e3,
        "grown_mb": resident() - memory,
    }


def resident() -> float:
    """Megabytes."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(statm.read_text().split()[1]) * resource.getpagesize() / 1e6


def main() -> None:
    name, kind, mode, seconds = sys.argv[1:]
    storm, exporter = STORMS[name]
    per_s = FEW_PER_S if name == FEW_REPORTS else REPORTED_PER_S
    logging.disable(logging.ERROR)
    found: dict[str, float] = {}
    with exporter() as sink:
        # A batch would be exported on a thread of its own, and keep nobody waiting.
        simple = isinstance(sink, Slow)
        provider.add_span_processor(SimpleSpanProcessor(sink) if simple else BatchSpanProcessor(sink))
        provider.add_span_processor(Counts())
        if mode == "on":
            from otel_loopblock import LoopBlockInstrumentor, guard

            reader = InMemoryMetricReader()
            LoopBlockInstrumentor().instrument(
                threshold_ms=THRESHOLD_S * 1e3,
                max_events_per_second=per_s,
                tracer_provider=provider,
                meter_provider=MeterProvider([reader]),
            )
        loop = LOOPS[kind]()
        beginning = time.perf_counter()
        found |= loop.run_until_complete(measured(storm, float(seconds)))
        if mode == "on":
            found["planted"] = planted
            # A second's worth may come at once.
            found["may_report"] = per_s * (time.perf_counter() - beginning + 1)
            worker = LoopBlockInstrumentor()._emitter.worker
            found["waiting"] = worker.pending
            began = time.perf_counter()
            LoopBlockInstrumentor().uninstrument()
            found["stopped_in_s"] = time.perf_counter() - began
            found["dropped"] = worker.dropped
            found["reports"] = reports
            # That one only says that some were dropped.
            found["failures"] = len(guard.failures.keys() - {"deliver telemetry as fast as it comes"})
            data = reader.get_metrics_data()
            points = {
                metric.name: metric.data.data_points
                for of_resource in (data.resource_metrics if data else ())
                for scope in of_resource.scope_metrics
                for metric in scope.metrics
            }
            found["blocks"] = sum(point.count for point in points.get("event_loop.block.duration", ()))
            found["suppressed"] = sum(point.value for point in points.get("event_loop.block.suppressed", ()))
        print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
