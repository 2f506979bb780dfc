"""A service that hangs until its supervisor kills the worker."""

from __future__ import annotations

import ctypes
import time

from fastapi import FastAPI

app = FastAPI()
holding_the_gil = ctypes.PyDLL(None).usleep

PIECE_US = 100_000
PIECES_S = 5.0
FOR_GOOD_US = 60_000_000


@app.get("/health")
async def health():
    return {}


@app.get("/wait")
async def wait():
    time.sleep(60)


def work_in_pieces():
    """The GIL is free between two pieces only, and after some time not at all."""
    until = time.monotonic() + PIECES_S
    while time.monotonic() < until:
        holding_the_gil(PIECE_US)
    holding_the_gil(FOR_GOOD_US)


@app.get("/pieces")
async def pieces():
    work_in_pieces()
