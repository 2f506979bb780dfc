"""A FastAPI service that knows nothing of the instrumentation: each path blocks in its own way.

Every blocked stretch is timed around the blocking call itself; ``/truth`` tells how long they took.
"""

import asyncio
import contextvars
import os
import socket
import time
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, Depends, FastAPI, Request
from opentelemetry import trace

BLOCK_S = float(os.environ.get("SCENARIO_BLOCK_S", "0.06"))
TRUTH: dict[str, list[float]] = {}

tracer = trace.get_tracer("scenarios")


def note(scenario, began):
    TRUTH.setdefault(scenario, []).append(time.perf_counter() - began)


def block(scenario):
    began = time.perf_counter()
    time.sleep(BLOCK_S)
    note(scenario, began)


class Stalling(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        block("data_received")
        self.transport.write(b"done\n")
        self.transport.close()


@asynccontextmanager
async def lifespan(app):
    server = await asyncio.get_running_loop().create_server(Stalling, "127.0.0.1", 0)
    app.state.port = server.sockets[0].getsockname()[1]
    yield
    server.close()


app = FastAPI(lifespan=lifespan)


@app.middleware("http")
async def stalling_middleware(request: Request, call_next):
    if request.url.path == "/middleware":
        block("middleware")
    return await call_next(request)


@app.get("/health")
async def health():
    return {"ok": True}


@app.get("/truth")
async def truth():
    return TRUTH


@app.get("/innocent")
async def innocent():
    await asyncio.sleep(0.03)
    return {}


@app.get("/block_then_return")
async def block_then_return():
    block("block_then_return")
    return {}


@app.get("/await_block_await")
async def await_block_await():
    await asyncio.sleep(0.01)
    block("await_block_await")
    await asyncio.sleep(0.01)
    return {}


@app.get("/inner_span")
async def inner_span():
    with tracer.start_as_current_span("inner"):
        block("inner_span")
    return {}


@app.get("/two_inner_spans")
async def two_inner_spans():
    with tracer.start_as_current_span("first"):
        block("first")
    with tracer.start_as_current_span("second"):
        stall_again()
    return {}


def stall_again():
    block("second")


@app.get("/twenty_short_spans")
async def twenty_short_spans():
    began = time.perf_counter()
    for number in range(20):
        with tracer.start_as_current_span(f"short {number}"):
            time.sleep(0.002)
    note("twenty_short_spans", began)
    return {}


@app.get("/outer_then_inner")
async def outer_then_inner():
    block("outer")
    with tracer.start_as_current_span("inner of outer"):
        block("inner of outer")
    return {}


async def slow_dependency():
    block("dependency")


@app.get("/dependency")
async def dependency(_: None = Depends(slow_dependency)):
    return {}


@app.get("/middleware")
async def middleware():
    return {}


async def work_later():
    await asyncio.sleep(0.05)
    block("background")


@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(work_later)
    return {}


async def bare():
    await asyncio.sleep(0)
    block("bare_task")


@app.get("/bare_task")
async def bare_task():
    task = contextvars.Context().run(asyncio.get_running_loop().create_task, bare())
    await task
    return {}


@app.get("/call_later")
async def call_later():
    done = asyncio.get_running_loop().create_future()

    def fire():
        block("call_later")
        done.set_result(None)

    asyncio.get_running_loop().call_later(0.01, fire)
    await done
    return {}


@app.get("/add_reader")
async def add_reader():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    done = loop.create_future()

    def readable():
        ours.recv(10)
        block("add_reader")
        loop.remove_reader(ours.fileno())
        done.set_result(None)

    loop.add_reader(ours.fileno(), readable)  # all that rloop takes
    theirs.send(b"x")
    await done
    ours.close()
    theirs.close()
    return {}


@app.get("/data_received")
async def data_received():
    reader, writer = await asyncio.open_connection("127.0.0.1", app.state.port)
    writer.write(b"x")
    await reader.read()
    writer.close()
    return {}


@app.get("/fill")
async def fill():
    """Many short callbacks without a rest."""
    for _ in range(250):
        until = time.perf_counter() + 0.002
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0)
    return {}


@app.get("/spin")
async def spin():
    while True:
        pass


@app.get("/stuck")
async def stuck():
    time.sleep(60)
