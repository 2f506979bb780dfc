"""A service that knows nothing of OpenTelemetry, as the images of deploy/kubernetes/ have one."""

import time

from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
async def health():
    return {"ok": True}


@app.get("/checkout")
async def checkout():
    time.sleep(0.06)
    return {"paid": True}
