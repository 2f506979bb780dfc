"""A FastAPI service that knows nothing of the instrumentation: requests wait, and now and then one blocks.

Of each request it notes, for each time it waited, when what it waited for was there and when it went on: the
difference is what the loop made it wait. ``/truth`` tells, by the identifier that the client gave. Times are
``perf_counter``, which on Linux is one clock for all processes.
"""

import asyncio
import heapq
import socket
import threading
import time

from fastapi import FastAPI
from opentelemetry import trace

app = FastAPI()
truth = {}


class Sender(threading.Thread):
    """Writes one byte to a socket at a given time, and notes when it has."""

    def __init__(self):
        super().__init__(daemon=True)
        self._jobs = []
        self._changed = threading.Condition()

    def at(self, when, peer, wait):
        with self._changed:
            heapq.heappush(self._jobs, (when, id(wait), peer, wait))
            self._changed.notify()

    def run(self):
        while True:
            with self._changed:
                while not self._jobs or self._jobs[0][0] > time.perf_counter():
                    self._changed.wait(self._jobs[0][0] - time.perf_counter() if self._jobs else None)
                _, _, peer, wait = heapq.heappop(self._jobs)
            wait[0] = time.perf_counter()
            peer.send(b"x")


sender = Sender()
sender.start()


def begin(rid, kind):
    span = trace.get_current_span()
    return truth.setdefault(
        rid,
        {
            "kind": kind,
            "trace_id": trace.format_trace_id(span.get_span_context().trace_id),
            "began": time.perf_counter(),
            "waits": [],
        },
    )


def hold_the_loop(seconds):
    time.sleep(seconds)


async def wait_asleep(note, seconds):
    wait = [time.perf_counter() + seconds, 0.0]
    note["waits"].append(wait)
    await asyncio.sleep(seconds)
    wait[1] = time.perf_counter()


@app.get("/health")
async def health():
    return {"ok": True}


@app.get("/truth")
async def tell():
    return truth


@app.get("/block")
async def block(rid: str, after: float, seconds: float):
    note = begin(rid, "block")
    await asyncio.sleep(after)
    note["block_began"] = time.perf_counter()
    hold_the_loop(seconds)
    note["block_ended"] = time.perf_counter()
    asyncio.get_running_loop().call_soon(lambda: note.update(loop_turned=time.perf_counter()))
    return {}


@app.get("/sleep")
async def sleep(rid: str, seconds: float):
    note = begin(rid, "sleep")
    await wait_asleep(note, seconds)
    return {}


@app.get("/read")
async def read(rid: str, seconds: float):
    note = begin(rid, "read")
    ours, theirs = socket.socketpair()
    opening, reading = [time.perf_counter(), 0.0], [0.0, 0.0]
    note["waits"] += opening, reading
    reader, writer = await asyncio.open_connection(sock=ours)
    opening[1] = time.perf_counter()
    sender.at(time.perf_counter() + seconds, theirs, reading)
    await reader.read(1)
    reading[1] = time.perf_counter()
    writer.close()
    theirs.close()
    return {}


@app.get("/arrive")
async def arrive(rid: str):
    note = begin(rid, "arrive")
    await wait_asleep(note, 0.001)
    return {}
