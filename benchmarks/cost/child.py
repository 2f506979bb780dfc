"""The process that is counted or asked: ``python -m benchmarks.cost.child count|probe LOOP TOOL``.

It imports nothing of the package unless the tool is ours: it also runs where only the peers are installed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

from benchmarks.cost import tools

LENGTHS = (400, 2000)
"""Lengths of the two runs; what is reported is the difference, per piece of work."""
REPEATS = 3
"""Of both: the kernel delivers a byte late at times, and the loop turns once more. The least is right."""
BLOCK_S = 0.4
"""Above each tool's default threshold."""


async def callback(count: int) -> None:
    """A chain of ``call_soon``."""
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

    loop.call_soon(step)
    await done


async def task_step(count: int) -> None:
    """A task that yields to the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


class _Echo(asyncio.Protocol):
    transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's derives from nothing

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class _Client(_Echo):
    left = 0
    done: asyncio.Future[None]

    def data_received(self, data: bytes) -> None:
        self.left -= 1
        if self.left:
            self.transport.write(data)
        else:
            self.done.set_result(None)


async def echo(count: int) -> None:
    """A byte goes to and fro: each turn of the loop is one ``data_received`` and its write."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Echo, "127.0.0.1", 0)
    transport, client = await loop.create_connection(_Client, *server.sockets[0].getsockname())
    client.left, client.done = count // 2, loop.create_future()
    client.transport.write(b"x")
    await client.done
    transport.close()
    server.close()
    await asyncio.sleep(0.01)


async def span(count: int) -> None:
    """Start and end a recorded span, in the loop."""
    from opentelemetry import trace

    tracer = trace.get_tracer("cost")
    for _ in range(count):
        with tracer.start_as_current_span("GET /"):
            pass


Workload = Callable[[int], Awaitable[None]]
WORKLOADS: dict[str, Workload] = {
    "callback": callback,
    "task step": task_step,
    "data_received": echo,
    "span": span,
}


def mark() -> None:
    """What callgrind's ``--dump-before`` waits for: a function of the C library that nobody else calls."""
    os.getpriority(os.PRIO_PROCESS, 0)


def count(started: tools.Started, workloads: list[str]) -> None:
    """Run each workload at both lengths, with a mark before and after each."""
    gc.collect()
    gc.disable()
    random.seed(0)  # a span's identifier is a random number: its length counts
    for name in workloads:
        work = WORKLOADS[name]
        started.loop.run_until_complete(work(LENGTHS[0]))  # warms up
        for length in LENGTHS * REPEATS:
            mark()
            started.loop.run_until_complete(work(length))
            mark()


def probe(started: tools.Started) -> bool:
    """Whether the tool says anything of a task that blocks, or forbids it."""

    async def block() -> None:
        time.sleep(BLOCK_S)

    async def run() -> list[BaseException | None]:
        await asyncio.sleep(0.3)
        outcome = list(await asyncio.gather(asyncio.create_task(block()), return_exceptions=True))
        await asyncio.sleep(0.5)
        return outcome

    (outcome,) = started.loop.run_until_complete(run())
    return started.saw() or outcome is not None


def main() -> None:
    """Do what the command line says; the answer of a probe is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["count", "probe"])
    parser.add_argument("loop", choices=["asyncio", "uvloop", "rloop", "zuvloop"])
    parser.add_argument("tool", choices=sorted(tools.TOOLS))
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS), default=[])
    args = parser.parse_args()
    started = tools.start(args.tool, args.loop, rare=args.what == "count")
    seen: bool | None = None
    if args.what == "count":
        count(started, args.workload)
    else:
        seen = probe(started)
    sys.stdout.flush()
    os._exit(3 if seen is False else 0)  # some tools never let a process end


if __name__ == "__main__":
    main()
