"""What the benchmark is tried on: endpoints of which it is known how long they take."""

import asyncio
import os
import time

from fastapi import FastAPI

app = FastAPI()
broken = FastAPI()


@app.get("/health")
async def health():
    return {"ok": True}


@app.get("/block")
async def block():
    time.sleep(0.03)


@app.get("/wait")
async def wait():
    await asyncio.sleep(0.03)


@app.post("/predict")
async def predict(body: dict[str, int]):
    return {"sum": sum(body.values())}


@app.get("/fail")
async def fail():
    raise LookupError("no model")


@app.get("/die")
async def die():
    os._exit(3)


async def unable(scope, receive, send):
    """Refuses to start."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
