"""A FastAPI service that knows nothing of the instrumentation: it blocks as planned, and notes the truth.

A timer every 2 ms notes when the loop stood still. While a callback runs no other can: a block that is
reported without such a gap is a false one.
"""

import asyncio
import gc
import os
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager

import uvloop
from fastapi import FastAPI
from opentelemetry import trace

BLOCK_S = float(os.environ["SOAK_BLOCK_S"])
GAP_NS = int(float(os.environ["SOAK_GAP_S"]) * 1e9)

tracer = trace.get_tracer("soak")
planted: list[tuple[int, int, int, int]] = []
"""Number, thread, begin and end of each planned block, by the wall clock."""
gaps: list[tuple[int, int]] = []
"""When no timer ran on the service's loop for long."""


def block(number):
    began = time.time_ns()
    if number % 2:
        time.sleep(BLOCK_S)
    else:
        ended = time.perf_counter() + BLOCK_S
        while time.perf_counter() < ended:
            pass
    planted.append((number, threading.get_ident(), began, time.time_ns()))


def tick(loop, last):
    now = time.time_ns()
    if now - last >= GAP_NS:
        gaps.append((last, now))
    loop.call_later(0.002, tick, loop, now)


@asynccontextmanager
async def lifespan(app):
    loop = asyncio.get_running_loop()
    tick(loop, time.time_ns())
    app.state.thread = threading.get_ident()
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health():
    return {"ok": True}


@app.get("/truth")
def truth():
    """What was noted since the last time; while nothing else goes on."""
    told = {"thread": app.state.thread, "planted": planted[:], "gaps": gaps[:]}
    del planted[: len(told["planted"])], gaps[: len(told["gaps"])]
    return told


@app.get("/health/objects")
def count_objects():
    """How many objects there are, by type."""
    gc.collect()
    return Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())


@app.get("/block")
async def block_in_handler(number: int):
    trace.get_current_span().set_attribute("soak.number", number)
    block(number)
    return {}


@app.get("/inner")
async def block_in_inner_span(number: int):
    await asyncio.sleep(0.001)
    with tracer.start_as_current_span("inner", attributes={"soak.number": number}):
        block(number)
    await asyncio.sleep(0)
    return {}


@app.get("/timer")
async def block_in_timer(number: int):
    done = asyncio.get_running_loop().create_future()

    def fire():
        with tracer.start_as_current_span("timer", attributes={"soak.number": number}):
            block(number)
        done.set_result(None)

    asyncio.get_running_loop().call_later(0.002, fire)
    await done
    return {}


@app.get("/fail_after")
async def block_then_fail(number: int):
    trace.get_current_span().set_attribute("soak.number", number)
    block(number)
    raise RuntimeError("planned")


def run_loop(number):
    """A loop that lives for one block; asyncio's or uvloop's, whose sleep leaves the service's alone."""
    loop = uvloop.new_event_loop() if number % 4 == 1 else asyncio.SelectorEventLoop()

    async def main():
        for _ in range(20):
            await asyncio.sleep(0)
        with tracer.start_as_current_span("loop", attributes={"soak.number": number}):
            block(number)

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@app.get("/loop")
async def loop_in_thread(number: int):
    await asyncio.to_thread(run_loop, number)
    return {}


@app.get("/small")
async def small():
    loop = asyncio.get_running_loop()
    for _ in range(200):
        loop.call_soon(int)
    for _ in range(50):
        await asyncio.sleep(0)
    return {}


@app.get("/executor")
async def executor():
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.01) for _ in range(3)))
    return {}


@app.get("/sync")
def sync():
    time.sleep(0.01)
    return {}


@app.get("/fail")
async def fail():
    raise RuntimeError("planned")


@app.get("/cancel")
async def cancel():
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.wait([task])
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.002)
    except asyncio.TimeoutError:
        return {}


@app.get("/slow")
async def slow():
    """Whoever asks does not wait for it."""
    await asyncio.sleep(0.1)
    return {}
