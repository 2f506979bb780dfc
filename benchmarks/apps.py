"""Services whose throughput is compared: raw ASGI, and FastAPI with the upstream instrumentation.

``LOOPBLOCK=on`` in the environment adds ours.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from otel_loopblock import LoopBlockInstrumentor

if os.environ.get("LOOPBLOCK") == "on":
    LoopBlockInstrumentor().instrument()


async def raw(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """The least that an ASGI application does."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


fastapi = FastAPI()


@fastapi.get("/")
async def root() -> dict[str, str]:
    """A route that does nothing."""
    return {"hello": "world"}


# Spans are made and recorded, not exported: an exporter's thread would be measured along.
trace.set_tracer_provider(TracerProvider())
FastAPIInstrumentor.instrument_app(fastapi)
