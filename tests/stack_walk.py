"""Blocks whose stacks are taken while the collector runs finalizers that give up the GIL.

To be run in a process of its own, which may crash.

stack_walk.py asyncio|uvloop SECONDS
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time

import uvloop
from opentelemetry.sdk.trace import TracerProvider

from otel_loopblock import LoopBlockInstrumentor, guard


class Closing:
    """Garbage for the collector, whose finalizer gives up the GIL as closing a file does."""

    def __init__(self):
        self.me = self

    def __del__(self):
        time.sleep(0)


def deep(depth, seconds):
    if depth:
        deep(depth - 1, seconds)
    else:
        time.sleep(seconds)


async def main(tracer, seconds):
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        count += 1
        with tracer.start_as_current_span("s"):
            for _ in range(20):
                Closing()
            deep(60 + count % 40, 0.0012 + count % 7 * 0.0002)
        await asyncio.sleep(0)
    return count


if __name__ == "__main__":
    provider = TracerProvider()
    LoopBlockInstrumentor().instrument(threshold_ms=1, tracer_provider=provider, log_interval_ms=3_600_000)
    gc.set_threshold(60, 5, 5)
    loop = {"asyncio": asyncio, "uvloop": uvloop}[sys.argv[1]].new_event_loop()
    asyncio.set_event_loop(loop)
    blocks = loop.run_until_complete(main(provider.get_tracer("x"), float(sys.argv[2])))
    LoopBlockInstrumentor().uninstrument()
    print(f"{blocks} blocks, collector {'on' if gc.isenabled() else 'off'}, failed: {dict(guard.failures)}")
