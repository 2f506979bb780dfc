"""An ASGI application without a framework that blocks as it starts, in each request, and as it ends."""

import time

BLOCK_S = 0.04


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        starts()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        ends()
        await send({"type": "lifespan.shutdown.complete"})
        return
    handles()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def starts():
    time.sleep(BLOCK_S)


def ends():
    time.sleep(BLOCK_S)


def handles():
    time.sleep(BLOCK_S)
