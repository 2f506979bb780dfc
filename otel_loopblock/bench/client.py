"""The client process: sends requests as told, one job per line on standard input, one result per line back.

``python -m otel_loopblock.bench.client``. Load and probe have a client each, so that a busy load
generator does not make the probe's answers look late.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import httpx

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to send. Either a closed loop (``concurrency``) or an open one (``rate``)."""

    url: str
    seconds: float
    method: str = "GET"
    body: str | None = None
    """JSON."""
    concurrency: int = 0
    """Requests in flight: each is sent when the former one of its place was answered."""
    rate: float = 0.0
    """Requests per second, sent at fixed moments whether earlier ones were answered or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came back."""

    latencies_s: list[float]
    """Of every answer with a status below 400. In a closed loop from sending; in an open loop from the
    moment at which the request was due, however late it was sent."""
    in_time: int
    """How many of these answers came within the job's ``seconds``."""
    errors: int
    """Requests that failed, timed out or were answered with a status of 400 or more."""
    first_error: str


class _Recorder:
    def __init__(self, client: httpx.AsyncClient, job: Job) -> None:
        self._client = client
        self._job = job
        self.latencies_s: list[float] = []
        self.in_time = 0
        self.errors = 0
        self.first_error = ""
        self.deadline = perf_counter() + job.seconds

    async def request(self, due: float) -> None:
        job = self._job
        headers = {"Content-Type": "application/json"} if job.body is not None else {}
        try:
            response = await self._client.request(job.method, job.url, content=job.body, headers=headers)
            problem = f"status {response.status_code}" if response.status_code >= 400 else ""
        except httpx.HTTPError as error:
            problem = f"{type(error).__name__} {error}".strip()
        answered = perf_counter()
        if problem:
            self.errors += 1
            self.first_error = self.first_error or problem
            return
        self.latencies_s.append(answered - due)
        self.in_time += answered <= self.deadline

    async def closed_loop(self) -> None:
        async def one_place() -> None:
            while (now := perf_counter()) < self.deadline:
                errors = self.errors
                await self.request(now)
                if self.errors > errors:
                    await asyncio.sleep(0.01)  # a server that refuses must not be asked in a busy loop

        await asyncio.gather(*(one_place() for _ in range(self._job.concurrency)))

    async def open_loop(self) -> None:
        start = self.deadline - self._job.seconds
        pending = []
        for number in range(max(1, round(self._job.rate * self._job.seconds))):
            due = start + number / self._job.rate
            await asyncio.sleep(max(0.0, due - perf_counter()))
            pending.append(asyncio.create_task(self.request(due)))
        await asyncio.gather(*pending)


async def carry_out(job: Job) -> Outcome:
    """Send the requests of a job and wait for all answers."""
    # No limit on connections: a request must never wait in the client for another one.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits, trust_env=False) as client:
        recorder = _Recorder(client, job)
        await (recorder.closed_loop() if job.concurrency else recorder.open_loop())
    return Outcome(
        latencies_s=recorder.latencies_s,
        in_time=recorder.in_time,
        errors=recorder.errors,
        first_error=recorder.first_error,
    )


def main() -> int:
    """Carry out jobs until standard input ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        message: dict[str, Any] = json.loads(line)
        outcome = asyncio.run(carry_out(Job(**message)))
        print(json.dumps(dataclasses.asdict(outcome)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
