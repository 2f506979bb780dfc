"""What blocks a loop that nothing hooks, and how much of it is seen: ``python -m benchmarks.unhooked``.

Blocks of known lengths, one after the other. One counts as found where something is reported at its time, as
named where that is its function.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import uvloop
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_loopblock import LoopBlockInstrumentor, core

THRESHOLD_S = 0.01
MULTIPLES = (1.2, 2, 3, 5)
AFTER_S = 0.03
"""From a block to the next."""


class Unhooked(uvloop.loop.Loop, asyncio.AbstractEventLoop):  # type: ignore[misc]
    """Built on the C class, past ``uvloop.Loop``."""


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def compute(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def keep_the_gil(seconds: float) -> None:
    sum(range(int(_range_per_s * seconds)))


KINDS: tuple[Callable[[float], None], ...] = (sleep, compute, keep_the_gil)
_range_per_s = 0.0


def calibrate() -> None:
    """How much of a range is summed up in a second."""
    global _range_per_s
    number, best = 1_000_000, 1e9
    for _ in range(5):
        began = time.perf_counter()
        sum(range(number))
        best = min(best, time.perf_counter() - began)
    _range_per_s = number / best


class Found(NamedTuple):
    """A block that was told."""

    named: bool
    """Whether its own function was."""
    error_s: float
    """By how much its length was wrong."""


class Block(NamedTuple):
    """One that was made."""

    function: str
    multiple: float
    """Of the threshold, as it was meant."""
    middle_ns: int
    """When half of it was over, in nanoseconds since the epoch."""
    true_s: float

    def find(self, told: Sequence[ReadableSpan]) -> Found | None:
        """What was told of it."""
        for span in told:
            start, end = span.start_time or 0, span.end_time or 0
            if start <= self.middle_ns <= end:
                function = str((span.attributes or {}).get("code.function.name"))
                error_s = abs((end - start) / 1e9 - self.true_s)
                return Found(function.endswith(f".{self.function}"), error_s)
        return None


async def block(truth: list[Block], rounds: int) -> None:
    """Block again and again."""
    loop = asyncio.get_running_loop()
    todo = [(kind, multiple) for kind in KINDS for multiple in MULTIPLES for _ in range(rounds)]
    random.Random(0).shuffle(todo)

    def callback(kind: Callable[[float], None], multiple: float) -> None:
        began = time.perf_counter()
        kind(THRESHOLD_S * multiple)
        true_s = time.perf_counter() - began
        if true_s >= THRESHOLD_S:  # the processor may be faster than it was at first
            truth.append(Block(kind.__name__, multiple, time.time_ns() - int(true_s * 5e8), true_s))

    for number, (kind, multiple) in enumerate(todo):
        if number % 2:
            loop.call_soon(callback, kind, multiple)
        else:
            loop.call_later(0.001, callback, kind, multiple)
        await asyncio.sleep(THRESHOLD_S * multiple + AFTER_S)


def main() -> None:
    """Block, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--loop", default="", help="a module with new_event_loop; default: built on uvloop's in C"
    )
    parser.add_argument("--rounds", type=int, default=20, help="blocks of each kind and length")
    args = parser.parse_args()
    calibrate()
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    LoopBlockInstrumentor().instrument(
        tracer_provider=provider, threshold_ms=THRESHOLD_S * 1e3, report="span", log_interval_ms=1e9
    )
    loop = importlib.import_module(args.loop).new_event_loop() if args.loop else Unhooked()
    truth: list[Block] = []

    async def run() -> None:
        provider.get_tracer("unhooked").start_span("first").end()
        await asyncio.sleep(0.2)
        exporter.clear()
        await block(truth, args.rounds)

    loop.run_until_complete(run())
    LoopBlockInstrumentor().uninstrument()
    show(type(loop), truth, exporter)


def show(kind_of_loop: type, truth: list[Block], exporter: InMemorySpanExporter) -> None:
    """Print what was found of it, as a table of Markdown."""
    told = [span for span in exporter.get_finished_spans() if span.name == "event_loop.blocked"]
    how = "context switches" if core.ContextWatch is not None else "the probe"
    print(
        f"Python {platform.python_version()}, {kind_of_loop.__module__}.{kind_of_loop.__qualname__}, by {how}"
    )
    print("\n| block | length | blocks | found | named | length off by, median | most |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        for multiple in MULTIPLES:
            blocks = [each for each in truth if (each.function, each.multiple) == (kind.__name__, multiple)]
            found = [each for each in (block.find(told) for block in blocks) if each is not None]
            errors = [each.error_s * 1e3 for each in found]
            off = f"{statistics.median(errors):.1f} ms | {max(errors):.1f} ms" if errors else "|"
            counts = f"{len(blocks)} | {len(found)} | {sum(each.named for each in found)}"
            print(f"| `{kind.__name__}` | {multiple:g} × threshold | {counts} | {off} |")
    print(f"\n{len(told)} blocks told of {len(truth)}")


if __name__ == "__main__":
    main()
