"""A FastAPI service whose ``def`` endpoint keeps a thread until it is told to go on."""

import threading

from fastapi import FastAPI

released = threading.Event()
app = FastAPI()


@app.get("/health")
async def health():
    return {"ok": True}


@app.get("/wait")
def wait():
    return released.wait(60)


@app.get("/release")
async def release():
    released.set()
    return {}
