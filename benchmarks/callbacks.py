"""What the hooks cost per callback: the same loop with and without them, in turns, in one process.

    python benchmarks/callbacks.py [--callbacks 300000] [--rounds 9]

Prints, per loop and way of scheduling, the time per callback bare and instrumented and the ratio of the two
(median over the rounds). Absolute times vary with the machine; ratios within one run are what to compare.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from otel_loopblock import LoopBlockInstrumentor

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


async def call_soon(count: int) -> float:
    """Seconds per callback of a chain of ``call_soon``."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    began = time.perf_counter()
    loop.call_soon(step)
    await done
    return (time.perf_counter() - began) / count


async def task_step(count: int) -> float:
    """Seconds per step of a task that yields to the loop."""
    began = time.perf_counter()
    for _ in range(count):
        await asyncio.sleep(0)
    return (time.perf_counter() - began) / count


async def echo(count: int) -> float:
    """Seconds per round trip over a socket, both ends on this loop."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    count //= 10
    left = count

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    class Client(Echo):
        def data_received(self, data: bytes) -> None:
            nonlocal left
            left -= 1
            if left:
                super().data_received(data)
            else:
                done.set_result(None)

    server = await loop.create_server(Echo, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(Client, *server.sockets[0].getsockname())
    began = time.perf_counter()
    transport.write(b"x")
    await done
    took = (time.perf_counter() - began) / count
    transport.close()
    server.close()
    return took


def measure(kind: str, workload: Callable[[int], object], count: int, *, on: bool) -> float:
    """One run on a new loop, hooks in place or not."""
    if on:
        LoopBlockInstrumentor().instrument(log_interval_ms=3_600_000)
    loop = LOOPS[kind]()
    gc.collect()
    try:
        result = loop.run_until_complete(workload(count))  # type: ignore[arg-type]
    finally:
        loop.close()
        if on:
            LoopBlockInstrumentor().uninstrument()
    assert isinstance(result, float)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--callbacks", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    table = Table(title=f"{args.callbacks} callbacks, median of {args.rounds} rounds in turns")
    for column in ("loop", "workload", "bare ns", "instrumented ns", "ratio", "added ns"):
        table.add_column(column, justify="left" if column in ("loop", "workload") else "right")
    for kind in LOOPS:
        for workload in (call_soon, task_step, echo):
            bare, hooked = [], []
            for _ in range(args.rounds):
                bare.append(measure(kind, workload, args.callbacks, on=False))
                hooked.append(measure(kind, workload, args.callbacks, on=True))
            ratio = statistics.median(h / b for h, b in zip(hooked, bare, strict=True))
            added = statistics.median(h - b for h, b in zip(hooked, bare, strict=True))
            table.add_row(
                kind,
                workload.__name__,
                f"{statistics.median(bare) * 1e9:.0f}",
                f"{statistics.median(hooked) * 1e9:.0f}",
                f"{ratio:.3f}",
                f"{added * 1e9:+.0f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
