"""The process is stopped for a moment, while its loop is idle or busy; and what was reported of it."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from contextlib import suppress
from time import perf_counter, sleep

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_loopblock import LoopBlockInstrumentor
from tests.kept.trial import NEW_LOOP, TICKER_S, Report, reports_in

_STOPPER = """\
import os, signal, sys, time
process = int(sys.argv[1])
for line in sys.stdin:
    time.sleep(0.05)
    os.kill(process, signal.SIGSTOP)
    began = time.time_ns()
    time.sleep(float(line))
    print(began, time.time_ns(), flush=True)
    os.kill(process, signal.SIGCONT)
"""


def stop_all(loop_type: str, beside: str, count: int, stopped_s: float = 0.1) -> list[list[Report]]:
    """Have the process stopped so often; returns what was reported of each time.

    Args:
        loop_type: ``asyncio`` or ``uvloop``.
        beside: what the loop does: ``heartbeat``, nothing but that; ``ticker``, a timer each 5 ms; ``busy``,
            callbacks of 2 ms, one after the other.
        count: of stops.
        stopped_s: seconds. A heartbeat, each 100 ms, is late for a part of them.
    """
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    stopper = subprocess.Popen(
        [sys.executable, "-S", "-c", _STOPPER, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    LoopBlockInstrumentor().instrument(
        tracer_provider=provider, report="event", max_events_per_second=1000, log_interval_ms=1e9
    )
    loop = NEW_LOOP[loop_type]()
    try:
        stops = loop.run_until_complete(_stop_all(stopper, beside, count, stopped_s))
    finally:
        sleep(0.2)
        LoopBlockInstrumentor().uninstrument()
        loop.close()
        stopper.communicate()
    found: list[list[Report]] = [[] for _ in stops]
    for report in reports_in(exporter.get_finished_spans()):
        for (began_ns, ended_ns), reports in zip(stops, found, strict=True):
            if min(report.ended_ns, ended_ns) - max(report.began_ns, began_ns) > 0:
                reports.append(report)
    return found


async def _stop_all(
    stopper: subprocess.Popen[str], beside: str, count: int, stopped_s: float
) -> list[tuple[int, int]]:
    assert stopper.stdin is not None
    assert stopper.stdout is not None
    doing = asyncio.ensure_future(DOING[beside]())
    chance = random.Random(1)
    for _ in range(count):
        stopper.stdin.write(f"{stopped_s}\n")
        stopper.stdin.flush()
        await asyncio.sleep(0.2 + 2 * stopped_s + chance.uniform(0, 0.1))  # not in step with it
    doing.cancel()
    with suppress(asyncio.CancelledError):
        await doing
    times = [stopper.stdout.readline().split() for _ in range(count)]
    return [(int(began), int(ended)) for began, ended in times]


async def _nothing() -> None:
    await asyncio.sleep(3600)


async def _tick() -> None:
    while True:
        await asyncio.sleep(TICKER_S)


async def _work() -> None:
    while True:
        until = perf_counter() + 0.002
        while perf_counter() < until:
            pass
        await asyncio.sleep(0)


DOING = {"heartbeat": _nothing, "ticker": _tick, "busy": _work}
