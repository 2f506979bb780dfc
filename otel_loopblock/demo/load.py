"""Concurrent requests over real HTTP, and how long each took for the one who sent it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

INNOCENT_CLIENTS = 6
"""How many ask for the innocent path at any time."""
INNOCENT_PAUSE_S = 0.05
OTHER_PAUSE_S = 0.45
"""Pause of the one client of each other path between two requests."""
AT_LEAST = 2
"""Requests of each client, however slow the machine is."""
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request as its sender saw it."""

    path: str
    duration_s: float
    status: int
    """HTTP status; 0 if there was no answer."""
    error: str
    """Why there was no answer; empty otherwise."""
    trace_id: str | None
    """From the header ``traceresponse``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was sent in one phase."""

    started_unix_ns: int
    ended_unix_ns: int
    answers: tuple[Answer, ...]

    @property
    def duration_s(self) -> float:
        """From the first request to the last answer, in seconds."""
        return (self.ended_unix_ns - self.started_unix_ns) / 1e9

    def of(self, path: str) -> list[Answer]:
        """The answers of one path."""
        return [answer for answer in self.answers if answer.path == path]

    def failures(self) -> list[Answer]:
        """What was not answered as it should have been."""
        return [answer for answer in self.answers if answer.status != 200]


async def send(
    url: str,
    *,
    innocent: str,
    others: Sequence[str],
    duration_s: float,
    progress: Callable[[int], None],
) -> Load:
    """Send requests for a while, and wait for the last answers.

    Args:
        url: of the service.
        innocent: a path that many ask for all the time.
        others: paths that one client each asks for now and then.
        duration_s: how long new requests are sent.
        progress: told the number of answers so far, after each.
    """
    answers: list[Answer] = []
    started_unix_ns = time.time_ns()
    ends = time.monotonic() + duration_s

    async def client(path: str, pause_s: float, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        sent = 0
        while sent < AT_LEAST or time.monotonic() < ends:
            sent += 1
            answers.append(await _ask(http, path))
            progress(len(answers))
            await asyncio.sleep(pause_s)

    limits = httpx.Limits(max_connections=INNOCENT_CLIENTS + len(others))
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, limits=limits, trust_env=False) as http:
        await asyncio.gather(
            # Not all at once: clients in step would hide from each other.
            *(
                client(innocent, INNOCENT_PAUSE_S, INNOCENT_PAUSE_S * index / INNOCENT_CLIENTS)
                for index in range(INNOCENT_CLIENTS)
            ),
            *(
                client(path, OTHER_PAUSE_S, OTHER_PAUSE_S * index / len(others))
                for index, path in enumerate(others)
            ),
        )
    return Load(started_unix_ns=started_unix_ns, ended_unix_ns=time.time_ns(), answers=tuple(answers))


async def _ask(http: httpx.AsyncClient, path: str) -> Answer:
    began = time.perf_counter()
    try:
        response = await http.get(path)
    except httpx.HTTPError as error:
        return Answer(
            path=path,
            duration_s=time.perf_counter() - began,
            status=0,
            error=str(error) or type(error).__name__,
            trace_id=None,
        )
    return Answer(
        path=path,
        duration_s=time.perf_counter() - began,
        status=response.status_code,
        error="",
        trace_id=trace_id_of(response.headers.get("traceresponse")),
    )


def trace_id_of(header: str | None) -> str | None:
    """The trace id in a ``traceresponse`` header: ``00-TRACE-SPAN-FLAGS``."""
    parts = (header or "").split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else None
