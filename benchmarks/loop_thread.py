"""What a block costs on the loop's thread: ``python -m benchmarks.loop_thread`` on a quiet machine.

Blocks of 12, 50 and 200 ms, with 0, 20 and 1,000 requests that wait for each. CPU time of all that the
instrumentation does on that thread for one block: the short event on the span that ends, the search for those
who waited, their events, links and attributes. The budget is 2 % of the block (300 us where that is more),
and 5 % with those who waited (1 ms where that is more). Two columns say how much of it the median and the
95th percentile use. The block is a sleep below a stack as deep as that of a FastAPI handler; after it the
CPU's caches are cold. What it costs to take these times is subtracted, and so are runs of the garbage
collector: a full one looks at all objects of the process, here those of the rounds before, and takes from 70
to 500 ms in whatever code it happens to begin. A round in which the loop was blocked a second time, as by
other processes on a busy machine, is another thing and is left out.

On a machine that has other things to do CPU time says little. ``--calls`` counts calls of functions instead,
in Python and in C: these are the same every time. ``tests/emit/test_loop_thread.py`` sets bounds on them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import uvloop
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from rich.console import Console
from rich.table import Table

from otel_loopblock import LoopBlockInstrumentor, core
from otel_loopblock.delayed.aftermath import Aftermath
from otel_loopblock.emit.attributes import DELAYED
from otel_loopblock.emit.emitter import Emitter
from otel_loopblock.watch.monitor import Monitor

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
BLOCKS_S = (0.012, 0.05, 0.2)
WAITING = (0, 20, 1000)
SET_UP_S = 0.1
"""Before each block, for those who wait to begin."""
PIECE = 20
DEPTH = 30
"""Frames between the callback and the block."""
PARTS = (
    (Emitter, "span_ending"),
    (Monitor, "callback_ended"),
    (Aftermath, "_next_turn"),
    (Aftermath, "span_started"),
)
"""None of them is always called by another one: what is added to take the time counts as theirs."""
BLOCKED = (Emitter, "callback_blocked")
"""Is called once for each block."""
WARM_UP = 3
"""Rounds that are not counted."""

Meter: TypeAlias = Callable[[Callable[[], None]], float]
"""Calls a function, and tells what that took."""


class Collections:
    """CPU seconds of a thread in the garbage collector, from when it is made on that thread."""

    def __init__(self) -> None:
        self.took_s = 0.0
        self._thread = threading.get_ident()
        self._began_s = 0.0

    def __call__(self, phase: str, info: object) -> None:
        if threading.get_ident() != self._thread:
            return
        if phase == "start":
            self._began_s = time.thread_time()
        else:
            self.took_s += time.thread_time() - self._began_s


def cpu_us(function: Callable[[], None]) -> float:
    """Microseconds of CPU time of this thread, without what the garbage collector takes of it."""
    collections = Collections()
    gc.callbacks.append(collections)
    began = time.thread_time()
    function()
    took_s = time.thread_time() - began
    gc.callbacks.remove(collections)
    return 1e6 * (took_s - collections.took_s)


def calls(function: Callable[[], None]) -> float:
    """Calls of functions, in Python and in C, that the function makes."""
    count = 0

    def counted(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def budget_s(block_s: float, waiting: int) -> float:
    """How much CPU time of the loop's thread one block may cost, in seconds."""
    return max(0.001, 0.05 * block_s) if waiting else max(0.0003, 0.02 * block_s)


def main() -> int:
    """Measure and print; exit code 1 when a median is over the budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=100, help="for each length and number")
    parser.add_argument("--calls", action="store_true", help="count calls instead of CPU time")
    args = parser.parse_args()
    logging.getLogger("otel_loopblock").setLevel(logging.CRITICAL)
    title = f"per block on the loop's thread, Python {platform.python_version()}, {core.NAME} core"
    what = ("calls", "p95 calls") if args.calls else ("median us", "p95 us", "budget us", "median", "p95")
    table = Table("loop", "block", "waiting", "rounds", "told", *what, title=title)
    good = True
    for kind, new_loop in LOOPS.items():
        for block_s in BLOCKS_S:
            for waiting in WAITING:
                meter = calls if args.calls else cpu_us
                rounds = measure(new_loop, args.blocks, block_s, waiting, meter)
                row = (kind, f"{1000 * block_s:g} ms", str(waiting), str(len(rounds)))
                if len(rounds) < 2:  # the machine has other things to do
                    table.add_row(*row)
                    continue
                spent, told = [each for each, _ in rounds], statistics.mean(each for _, each in rounds)
                median, p95 = statistics.median(spent), statistics.quantiles(spent, n=20)[18]
                figures = [f"{told:.0f}", f"{median:.0f}", f"{p95:.0f}"]
                if not args.calls:
                    allowed = 1e6 * budget_s(block_s, waiting)
                    good &= median <= allowed
                    figures += [f"{allowed:.0f}", f"{median / allowed:.0%}", f"{p95 / allowed:.0%}"]
                table.add_row(*row, *figures)
    Console(width=120).print(table)
    return 0 if good else 1


def measure(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    blocks: int,
    block_s: float,
    waiting: int,
    meter: Meter,
) -> list[tuple[float, int]]:
    """What the meter says of each round of so many, and how many requests got an event in it.

    Left out are the first rounds, and those with a second block.
    """
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter(), max_queue_size=1_000_000))
    tracer = provider.get_tracer("bench")
    result: list[tuple[float, int]] = []
    spent, inside, blocked = [0.0], [False], [0]
    of_meter = 0.0

    def metered(original: Callable[..., None]) -> Callable[..., None]:
        def method(*args: Any, **kwargs: Any) -> None:
            if inside[0]:
                original(*args, **kwargs)
                return
            inside[0] = True
            spent[0] += meter(partial(original, *args, **kwargs)) - of_meter
            inside[0] = False

        return method

    nothing = metered(lambda: None)
    for _ in range(10_000):
        nothing()
    of_meter = spent[0] / 10_000

    def counted(original: Callable[..., None]) -> Callable[..., None]:
        def method(*args: Any, **kwargs: Any) -> None:
            blocked[0] += 1
            original(*args, **kwargs)

        return method

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        else:
            time.sleep(block_s)

    async def request(until: float) -> bool:
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER) as span:
            await asyncio.sleep(until - asyncio.get_running_loop().time())
            events: Any = getattr(span, "events", ())
            return any(event.name == DELAYED for event in events)

    async def culprit() -> None:
        with tracer.start_as_current_span("GET /block", kind=SpanKind.SERVER):
            deep(DEPTH)

    async def run() -> None:
        for number in range(-WARM_UP, blocks):
            began = asyncio.get_running_loop().time() + SET_UP_S
            others = []
            for _ in range(0, waiting, PIECE):  # to begin all of them at once would be a block itself
                some = range(min(PIECE, waiting))
                others += [asyncio.create_task(request(began + block_s / 2)) for _ in some]
                await asyncio.sleep(0)
            await asyncio.sleep(began - asyncio.get_running_loop().time())
            spent[0], blocked[0] = 0.0, 0
            await asyncio.create_task(culprit())
            told = sum(await asyncio.gather(*others))
            await asyncio.sleep(0.1)  # what a loop may spend on those who wait is a share of its time
            if blocked[0] == 1 and number >= 0:
                result.append((spent[0], told))

    originals = [(owner, name, getattr(owner, name)) for owner, name in (*PARTS, BLOCKED)]
    for owner, name, original in originals:
        setattr(owner, name, (counted if (owner, name) == BLOCKED else metered)(original))
    LoopBlockInstrumentor().instrument(
        tracer_provider=provider,
        meter_provider=MeterProvider([InMemoryMetricReader()]),
        max_events_per_second=100_000,
    )
    loop = new_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
        LoopBlockInstrumentor().uninstrument()
        for owner, name, original in originals:
            setattr(owner, name, original)
    provider.shutdown()
    return result


if __name__ == "__main__":
    raise SystemExit(main())
