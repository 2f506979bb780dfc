"""The shipped example: the same work blocking the loop, offloaded, and in a ``def`` endpoint.

Three kinds of work of about 50 ms each: a driver that sleeps, a computation that releases the GIL
(``hashlib``), one that holds it (``json.loads``). Their size is fitted to the machine at start-up.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable

from fastapi import FastAPI

WORK_S = 0.05

app = FastAPI()
_size = {"releases_gil": 1.0, "holds_gil": 1.0}
_document = "[]"


def sleeping_driver() -> None:
    """As a database driver that waits for its server without asyncio."""
    time.sleep(WORK_S)


def gil_releasing_computation() -> None:
    """As an image library or numpy: C code that lets go of the GIL."""
    hashlib.sha256(bytes(int(_size["releases_gil"] * 1_000_000)))


def gil_holding_computation() -> None:
    """As a parser in C, or any Python code: nobody else runs meanwhile."""
    json.loads(_document)


def _make_document() -> None:
    global _document
    entry = '{"name": "value", "numbers": [1, 2, 3]}'
    _document = "[" + ",".join([entry] * int(_size["holds_gil"] * 1_000)) + "]"


def _fit() -> None:
    """Double each size until the work takes long enough, then scale it."""
    for name, work in (("releases_gil", gil_releasing_computation), ("holds_gil", gil_holding_computation)):
        while True:
            _make_document()
            took = min(_time(work) for _ in range(3))
            if took >= WORK_S / 2:
                break
            _size[name] *= 2
        _size[name] *= WORK_S / took
        _make_document()


def _time(work: Callable[[], None]) -> float:
    began = time.thread_time()  # what else the machine does must not make the work smaller
    work()
    return time.thread_time() - began


_fit()


@app.get("/health")
async def health() -> dict[str, bool]:
    """The innocent endpoint."""
    return {"ok": True}


@app.get("/sleeping/async")
async def sleeping_async() -> None:
    """Blocks the loop."""
    sleeping_driver()


@app.get("/sleeping/offload")
async def sleeping_offload() -> None:
    """In the loop's default executor."""
    await asyncio.to_thread(sleeping_driver)


@app.get("/sleeping/def")
def sleeping_def() -> None:
    """In a thread of anyio, as FastAPI runs every ``def`` endpoint."""
    sleeping_driver()


@app.get("/releases_gil/async")
async def releasing_async() -> None:
    """Blocks the loop."""
    gil_releasing_computation()


@app.get("/releases_gil/offload")
async def releasing_offload() -> None:
    """In the loop's default executor."""
    await asyncio.to_thread(gil_releasing_computation)


@app.get("/releases_gil/def")
def releasing_def() -> None:
    """In a thread of anyio."""
    gil_releasing_computation()


@app.get("/holds_gil/async")
async def holding_async() -> None:
    """Blocks the loop."""
    gil_holding_computation()


@app.get("/holds_gil/offload")
async def holding_offload() -> None:
    """In the loop's default executor: no cure, the loop waits for the GIL."""
    await asyncio.to_thread(gil_holding_computation)


@app.get("/holds_gil/def")
def holding_def() -> None:
    """In a thread of anyio: no cure either."""
    gil_holding_computation()
