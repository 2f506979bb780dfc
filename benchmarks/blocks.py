"""What a block costs on the loop's thread: ``python benchmarks/blocks.py`` on a quiet machine.

Times, inside one process, all that the instrumentation does on that thread for a callback over the threshold:
the event on the span that ends, and what is left at the callback's end; and by itself the part that serves
cause, call and advice: the clocks and the watchdog's looks are read, and it is noted what ran. The three are
worked out on other threads. The block itself is a sleep below a stack as deep as that of a FastAPI handler.

After a sleep the CPU's caches are cold, and what this costs depends on the machine more than on the code: for
comparison, the same run times one ``add_event`` of an application's own, with as many attributes, at the same
place and without the instrumentation.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import platform
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import uvloop
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span
from rich.console import Console
from rich.table import Table

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.emit import emitter
from otel_loopblock.emit.emitter import Emitter
from otel_loopblock.explain.block import Observed
from otel_loopblock.watch.monitor import Monitor

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
BUDGET_US = 150.0
ATTRIBUTES = 18
"""As many as ``event_loop.blocked`` has."""
WHY_TITLE = "for cause, call and advice"
ALL = ((Emitter, "span_ending"), (Emitter, "callback_blocked"))
WHY = ((emitter, "running_target"), (Monitor, "evidence"), (Observed, "__init__"))
"""What of it serves cause, call and advice."""


class Result(NamedTuple):
    """Seconds per block."""

    all: list[float]
    cpu: list[float]
    """The same on the thread's CPU clock."""
    why: list[float]
    """What of it serves cause, call and advice."""


def main() -> int:
    """Measure and print; exit code 1 when cause, call and advice are over the budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=1500)
    parser.add_argument("--depth", type=int, default=30, help="frames between the callback and the block")
    args = parser.parse_args()
    logging.getLogger("otel_loopblock").setLevel(logging.CRITICAL)
    table = Table(
        "loop",
        "",
        "median",
        "p90",
        "p99",
        "max",
        title=f"per block on the loop's thread, us, Python {platform.python_version()}",
    )
    good = True
    for kind, new_loop in LOOPS.items():
        own = measure(new_loop, args.blocks, args.depth, instrumented=False)
        ours = measure(new_loop, args.blocks, args.depth)
        rows = (
            ("an add_event of one's own", own.all),
            ("everything", ours.all),
            ("everything, CPU of the thread", ours.cpu),
            (WHY_TITLE, ours.why),
        )
        for what, spent in rows:
            cuts = statistics.quantiles(spent, n=100)
            table.add_row(
                kind,
                what,
                *(f"{1e6 * v:.0f}" for v in (statistics.median(spent), cuts[89], cuts[98], max(spent))),
            )
            good &= what != WHY_TITLE or 1e6 * cuts[98] <= BUDGET_US
    Console(width=120).print(table)
    return 0 if good else 1


def measure(
    new_loop: Callable[[], asyncio.AbstractEventLoop], blocks: int, depth: int, *, instrumented: bool = True
) -> Result:
    """Block a loop so many times; without the instrumentation, time one ``add_event`` per block instead."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    tracer = provider.get_tracer("bench")
    result = Result([], [], [])
    spent = [0.0, 0.0, 0.0]

    def timed(original: Callable[..., Any]) -> Callable[..., Any]:
        def method(*args: Any, **kwargs: Any) -> None:
            began, began_cpu = time.perf_counter(), time.thread_time()
            original(*args, **kwargs)
            spent[0] += time.perf_counter() - began
            spent[1] += time.thread_time() - began_cpu

        return method

    def timed_why(original: Callable[..., Any]) -> Callable[..., Any]:
        def method(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            found = original(*args, **kwargs)
            if threading.current_thread() is threading.main_thread():
                spent[2] += time.perf_counter() - began
            return found

        return method

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        else:
            time.sleep(0.012)

    async def run() -> None:
        await asyncio.sleep(0.05)
        for number in range(blocks):
            spent[:] = [0.0, 0.0, 0.0]
            with tracer.start_as_current_span("GET /") as span:
                await asyncio.sleep(0.003)
                deep(depth + number % 3)
                if not instrumented:
                    add_event(span)
            await asyncio.sleep(0)
            for kept, value in zip(result, spent, strict=True):
                kept.append(value)

    def own_event(span: Span) -> None:
        span.add_event("own", {f"attribute.{number}": number for number in range(ATTRIBUTES)})

    add_event = timed(own_event)
    originals = [(owner, name, getattr(owner, name)) for owner, name in (*ALL, *WHY)]
    for owner, name, original in originals:
        setattr(owner, name, (timed if (owner, name) in ALL else timed_why)(original))
    if instrumented:
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
        if instrumented:
            LoopBlockInstrumentor().uninstrument()
        for owner, name, original in originals:
            setattr(owner, name, original)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
