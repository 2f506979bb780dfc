"""Other libraries than those that the rules were made with."""

from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.cases.case import Request, ask, case
from tests.cases.upstream import upstream


@case(
    1,
    ".backing_off.<locals>.request",
    "backoff._sync.retry_exception",
    needs="backoff",
    wrong=("asyncio.sleep(",),
)
@contextmanager
def backing_off() -> Iterator[Request]:
    import backoff

    @backoff.on_exception(backoff.constant, OSError, max_tries=2, interval=0.08, jitter=None)
    def fetch() -> None:
        raise OSError

    async def request() -> None:
        with suppress(OSError):
            fetch()

    yield request


@case(1, ".redis_get.<locals>.request", "redis.Redis.get", needs="redis", wrong=("open_connection",))
@contextmanager
def redis_get() -> Iterator[Request]:
    import redis

    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = redis.Redis(port=silent.getsockname()[1], socket_timeout=0.09, retry=None)

        async def request() -> None:
            with suppress(redis.RedisError):
                client.get("a")

        yield request


@case(1, ".requests_get.<locals>.request", "requests.get", needs="requests", wrong=("open_connection",))
@contextmanager
def requests_get() -> Iterator[Request]:
    import requests

    with upstream() as address:

        async def request() -> None:
            requests.get(address, timeout=5)

        yield request


@case(
    2,
    ".class_endpoint.<locals>.Report.get",
    "json.dumps|starlette.responses.JSONResponse.render|"
    "starlette.responses.JSONResponse.__init__|starlette.responses.JSONResponse",
    needs="starlette",
)
@contextmanager
def class_endpoint() -> Iterator[Request]:
    from starlette.applications import Starlette
    from starlette.endpoints import HTTPEndpoint
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    rows = [{"n": n, "words": ["word"] * 20} for n in range(12_000)]

    class Report(HTTPEndpoint):
        async def get(self, request: Any) -> JSONResponse:
            return JSONResponse(rows)

    app = Starlette(routes=[Route("/report", Report)])

    async def request() -> None:
        await ask(app, "/report")

    yield request


@case(
    2, ".streaming.<locals>.lines", "starlette.responses.StreamingResponse|None|time.sleep", needs="starlette"
)
@contextmanager
def streaming() -> Iterator[Request]:
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def lines() -> Any:
        time.sleep(0.06)
        yield "line"

    async def endpoint(request: Any) -> StreamingResponse:
        return StreamingResponse(lines())

    app = Starlette(routes=[Route("/lines", endpoint)])

    async def request() -> None:
        await ask(app, "/lines")

    yield request


@case(5, ".mako_template.<locals>.request", "mako.template.Template.render", needs="mako")
@contextmanager
def mako_template() -> Iterator[Request]:
    from mako.template import Template

    template = Template("% for row in rows:\n<td>${row | h}</td>\n% endfor\n")
    rows = [f"row <{n}>" for n in range(20_000)]

    async def request() -> None:
        template.render(rows=rows)

    yield request


@case(1, ".query.<locals>.request", "sqlite3.Connection.execute")
@contextmanager
def query() -> Iterator[Request]:
    connection = sqlite3.connect(":memory:")
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 400000)"

    async def request() -> None:
        connection.execute(f"{numbers} SELECT max(x) FROM n")

    yield request
    connection.close()
