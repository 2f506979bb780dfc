"""No line of the application's own is on the stack: the endpoint is named, and what the framework called."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from tests.cases.case import Request, ask, case

_START = datetime(2024, 1, 1)


@dataclasses.dataclass
class _Label:
    name: str
    at: datetime


def _rows(count: int) -> list[dict[str, Any]]:
    return [
        {"id": n, "at": _START + timedelta(seconds=n), "labels": [_Label(f"label {n}", _START)]}
        for n in range(count)
    ]


@case(2, ".encoding.<locals>.report", "fastapi.encoders.jsonable_encoder", needs="fastapi")
@contextmanager
def encoding() -> Iterator[Request]:
    import fastapi

    app, rows = fastapi.FastAPI(), _rows(3000)

    @app.get("/report")
    async def report():  # with an annotation FastAPI would serialise by pydantic
        return rows

    async def request() -> None:
        await ask(app, "/report")

    yield request


@case(2, ".encoding_behind_middleware.<locals>.report", "fastapi.encoders.jsonable_encoder", needs="fastapi")
@contextmanager
def encoding_behind_middleware() -> Iterator[Request]:
    import fastapi

    app, rows = fastapi.FastAPI(), _rows(3000)

    class Timing:
        """A middleware of the application's own: its frame is on every stack."""

        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    app.add_middleware(Timing)

    @app.get("/report")
    async def report():  # with an annotation FastAPI would serialise by pydantic
        return rows

    async def request() -> None:
        await ask(app, "/report")

    yield request


@case(
    2,
    ".validating.<locals>.take_orders",
    # To decode the body takes about as long.
    "pydantic.TypeAdapter.validate_python|pydantic_core.SchemaValidator.validate_python|starlette.requests.Request.json",
    needs="fastapi pydantic",
)
@contextmanager
def validating() -> Iterator[Request]:
    import fastapi
    import pydantic

    app = fastapi.FastAPI()

    class Order(pydantic.BaseModel):
        sku: str
        tags: list[str]
        created: datetime

    async def take_orders(orders: list[Order]) -> Any:
        return len(orders)

    take_orders.__annotations__["orders"] = list[Order]
    app.post("/orders")(take_orders)
    order = {"sku": "a", "tags": [str(n) for n in range(30)], "created": "2024-05-17T12:00:00Z"}
    body = json.dumps([order] * 12_000).encode()

    async def request() -> None:
        await ask(app, "/orders", body, "POST")

    yield request


@case(
    2,
    ".prometheus_app",
    "prometheus_client.generate_latest",
    needs="fastapi prometheus_client",
    wrong=("pattern",),
)
@contextmanager
def metrics_endpoint() -> Iterator[Request]:
    import fastapi
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    latency = prometheus_client.Histogram("latency", "how long", ["tenant"], registry=registry)
    for n in range(350):
        latency.labels(tenant=f"t{n}").observe(0.1)
    app = fastapi.FastAPI()
    app.mount("/metrics", prometheus_client.make_asgi_app(registry=registry))

    async def request() -> None:
        await ask(app, "/metrics/")

    yield request
