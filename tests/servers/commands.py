"""How each server is started, and with which of the services."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Command = Callable[[str, int, str], list[str]]
"""Takes the service, the port and the loop; the words after ``python -m``."""


class Served(NamedTuple):
    """One server with one framework."""

    server: str
    framework: str
    packages: tuple[str, ...]
    """Whose versions the table shows."""
    command: Command
    loops: tuple[str, ...] = ("asyncio", "uvloop")
    span: bool = True
    """Whether there is an OpenTelemetry instrumentation for it: else a block is on a span of its own."""


def uvicorn(*flags: str) -> Command:
    return lambda app, port, loop: [
        "uvicorn", app, "--port", str(port), "--loop", loop, "--log-level", "warning", *flags,
    ]  # fmt: skip


def gunicorn(app: str, port: int, loop: str) -> list[str]:
    worker = {"asyncio": "UvicornH11Worker", "uvloop": "UvicornWorker"}[loop]
    return ["gunicorn", app, "--bind", f"127.0.0.1:{port}", "--worker-class", f"uvicorn_worker.{worker}"]


def hypercorn(app: str, port: int, loop: str) -> list[str]:
    return ["hypercorn", app, "--bind", f"127.0.0.1:{port}", "--worker-class", loop]


def granian(app: str, port: int, loop: str) -> list[str]:
    return ["granian", app, "--interface", "asgi", "--port", str(port), "--loop", loop]


def daphne(app: str, port: int, loop: str) -> list[str]:
    return ["daphne", "--port", str(port), app]


def alone(app: str, port: int, loop: str) -> list[str]:
    return [app.partition(":")[0], str(port), loop]


SERVED = [
    Served("uvicorn", "FastAPI", ("uvicorn", "fastapi"), uvicorn()),
    Served("uvicorn --workers 2", "FastAPI", ("uvicorn", "fastapi"), uvicorn("--workers", "2")),
    Served("uvicorn --reload", "FastAPI", ("uvicorn", "fastapi"), uvicorn("--reload")),
    Served("gunicorn, uvicorn-worker", "FastAPI", ("gunicorn", "uvicorn-worker", "fastapi"), gunicorn),
    Served("hypercorn", "Starlette", ("hypercorn", "starlette"), hypercorn),
    Served("granian", "Starlette", ("granian", "starlette"), granian),
    Served("daphne", "Starlette", ("daphne", "starlette"), daphne, ("asyncio",)),
    Served("uvicorn", "Starlette", ("uvicorn", "starlette"), uvicorn()),
    Served("uvicorn", "Django", ("uvicorn", "django"), uvicorn("--lifespan", "off")),
    Served("uvicorn", "Litestar", ("uvicorn", "litestar"), uvicorn()),
    Served("uvicorn", "Quart", ("uvicorn", "quart"), uvicorn()),
    Served("uvicorn", "Sanic", ("uvicorn", "sanic"), uvicorn()),
    Served("Sanic's own", "Sanic", ("sanic",), alone, span=False),
    Served("aiohttp.web", "aiohttp", ("aiohttp",), alone),
]
