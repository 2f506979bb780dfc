"""What the requests that wait cost: ``python benchmarks/delays.py`` on a quiet machine.

1,000 requests are in flight, each awaits a timer of its own; another one blocks for 20 ms every 50 ms. Times,
inside one process, all that the instrumentation does on the loop's thread from one block to the next: the
event on the span that blocked, the search for those who waited, their events and links. What it costs to take
these times is subtracted.

The budget is for the row without the garbage collector: how long that runs is decided by all that lives in
the process, and it strikes who makes events by hand just the same. A collection that is as long as the
threshold is a block of its own, which the search begins anew for: such periods have a row of their own.

For comparison, the same run times what an application would pay that gave one ``add_event`` with five
attributes and one ``add_link`` to as many requests by hand, at the same place, without the instrumentation.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import platform
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import uvloop
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import INVALID_SPAN, Span, SpanContext, SpanKind
from rich.console import Console
from rich.table import Table

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.delayed.aftermath import Aftermath
from otel_loopblock.emit.emitter import Emitter
from otel_loopblock.watch.monitor import Monitor

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
BUDGET_US = 1000.0
BLOCK_S = 0.02
PERIOD_S = 0.05
WAITING = 20
"""Requests that wait for such a block, about: those whose timer falls into it."""
ATTRIBUTES = 5
"""As many as ``event_loop.delayed`` has."""
THRESHOLD_S = 0.01
PARTS = (
    (Emitter, "span_ending"),
    (Monitor, "callback_ended"),
    (Aftermath, "_next_turn"),
    (Aftermath, "callback_ended"),
    (Aftermath, "span_started"),
)


class Counter(SpanExporter):
    """Counts what is exported, and keeps nothing."""

    def __init__(self) -> None:
        self.delayed = 0

    def export(self, spans: Any) -> SpanExportResult:
        """Count the events of requests that waited."""
        span: ReadableSpan
        for span in spans:
            self.delayed += sum(event.name == "event_loop.delayed" for event in span.events)
        return SpanExportResult.SUCCESS


def main() -> int:
    """Measure and print; exit code 1 when the 99th percentile is over the budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=600)
    parser.add_argument("--requests", type=int, default=1000, help="in flight")
    parser.add_argument("--memory", action="store_true", help="trace memory, and print no times")
    args = parser.parse_args()
    logging.getLogger("otel_loopblock").setLevel(logging.CRITICAL)
    title = f"per block on the loop's thread, Python {platform.python_version()}"
    table = Table("loop", "requests that waited", "", "median", "p90", "p99", "max", title=title)
    good = True
    for kind, new_loop in LOOPS.items():
        by_hand = measure(new_loop, args.blocks, args.requests, instrumented=False)
        found = measure(new_loop, args.blocks, args.requests, trace_memory=args.memory)
        delayed = f"{found.delayed / args.blocks:.1f}"
        if args.memory:
            half, whole = found.memory_mib
            table.add_row(kind, delayed, f"{half:.1f} MiB after half of the blocks, {whole:.1f} after all")
            continue
        rows = (
            ("us, events and links by hand", by_hand.spent),
            ("the same, without the collector", by_hand.without_collector),
            ("us", found.spent),
            ("us without the collector", found.without_collector),
            (f"us, the collector blocked, {len(found.by_collector)} times", found.by_collector),
        )
        for what, spent in rows:
            if len(spent) < 2:
                continue
            cuts = statistics.quantiles(spent, n=100, method="inclusive")
            times = (statistics.median(spent), cuts[89], cuts[98], max(spent))
            table.add_row(kind, delayed, what, *(f"{1e6 * value:.0f}" for value in times))
            good &= spent is not found.without_collector or 1e6 * cuts[98] <= BUDGET_US
    Console(width=120).print(table)
    return 0 if good else 1


class Result(NamedTuple):
    """What was measured on one loop."""

    delayed: int
    """Requests that got an event."""
    spent: list[float]
    """Seconds per block."""
    without_collector: list[float]
    """The same less the runs of the garbage collector that fell into it."""
    by_collector: list[float]
    """Seconds in the periods in which one of these was a block; they are not among the others."""
    memory_mib: list[float]
    """Allocated after half of the blocks and after all, garbage left out, where it was asked for."""


def measure(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    blocks: int,
    requests: int,
    *,
    trace_memory: bool = False,
    instrumented: bool = True,
) -> Result:
    """Block a loop so many times while so many requests are in flight."""
    provider = TracerProvider()
    exporter = Counter()
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=20_000))
    tracer = provider.get_tracer("bench")
    spent = [0.0, 0.0]
    collecting = [0.0, 0.0]
    blocked = [False]
    inside = [False]
    result = Result(0, [], [], [], [])

    def collected(phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            collecting[0] = now
        else:
            collecting[1] += now - collecting[0]
            blocked[0] |= now - collecting[0] >= THRESHOLD_S

    def timed(original: Callable[..., None]) -> Callable[..., None]:
        def method(*args: Any, **kwargs: Any) -> None:
            if inside[0]:
                original(*args, **kwargs)
                return
            inside[0] = True
            began, before = time.perf_counter(), collecting[1]
            original(*args, **kwargs)
            spent[0] += time.perf_counter() - began - clock_s
            spent[1] += collecting[1] - before
            inside[0] = False

        return method

    clock_s = 0.0
    nothing = timed(lambda: None)
    for _ in range(10_000):
        nothing()
    clock_s = spent[0] / 10_000

    spans: list[Span] = [INVALID_SPAN] * requests

    def by_hand(target: SpanContext) -> None:
        for span in random.sample(spans, WAITING):
            span.add_event("own", {f"attribute.{number}": number for number in range(ATTRIBUTES)})
            span.add_link(target)

    timed_by_hand = timed(by_hand)

    async def request(number: int) -> None:
        while True:
            with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER) as span:
                spans[number] = span
                await asyncio.sleep(random.uniform(0.5, 1.5))

    async def culprit() -> None:
        with tracer.start_as_current_span("GET /block", kind=SpanKind.SERVER) as span:
            await asyncio.sleep(0)
            time.sleep(BLOCK_S)
            if not instrumented:
                timed_by_hand(span.get_span_context())

    async def run() -> None:
        others = [asyncio.create_task(request(number)) for number in range(requests)]
        await asyncio.sleep(1.5)
        for number in range(blocks):
            spent[:] = [0.0, 0.0]
            blocked[0] = False
            await asyncio.create_task(culprit())
            await asyncio.sleep(PERIOD_S - BLOCK_S)
            if blocked[0]:
                result.by_collector.append(spent[0])
            else:
                result.spent.append(spent[0])
                result.without_collector.append(spent[0] - spent[1])
            if trace_memory and number in (blocks // 2, blocks - 1):
                gc.collect()
                result.memory_mib.append(tracemalloc.get_traced_memory()[0] / 2**20)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    originals = [(owner, name, getattr(owner, name)) for owner, name in PARTS]
    for owner, name, original in originals:
        setattr(owner, name, timed(original))
    if trace_memory:
        tracemalloc.start()
    if instrumented:
        LoopBlockInstrumentor().instrument(
            tracer_provider=provider,
            meter_provider=MeterProvider([InMemoryMetricReader()]),
            max_events_per_second=100_000,
        )
    gc.callbacks.append(collected)
    loop = new_loop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
        if instrumented:
            LoopBlockInstrumentor().uninstrument()
        for owner, name, original in originals:
            setattr(owner, name, original)
        gc.callbacks.remove(collected)
        tracemalloc.stop()
    provider.shutdown()
    return result._replace(delayed=exporter.delayed)


if __name__ == "__main__":
    raise SystemExit(main())
