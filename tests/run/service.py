"""A small FastAPI service that blocks; what the tests of ``otel-loopblock run`` start."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from fastapi import FastAPI

app = FastAPI()


def charge_card() -> None:
    time.sleep(0.12)


@app.get("/pay")
async def pay() -> dict[str, int]:
    charge_card()
    return {"pid": os.getpid()}


@app.get("/stock")
async def stock() -> dict[str, int]:
    await asyncio.sleep(0.03)
    return {"pid": os.getpid()}


@app.get("/crash")
async def crash() -> None:
    os._exit(7)


@app.get("/say")
async def say() -> dict[str, bool]:
    print("said by the service", sys.stdout.isatty(), flush=True)
    return {"tty": sys.stdout.isatty()}
