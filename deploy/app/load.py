"""Sends a modest, steady load to the demo service: ``python load.py URL [--seconds N]``.

Each path is asked by one client that waits for its answer, so a service that is slow gets less to do.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import time

import httpx

INNOCENT = ("/stock",)
"""Asked often; they only ever await, so whatever they wait beyond that is the fault of others."""

BLOCKING = ("/blocking/payment", "/blocking/bundle", "/blocking/customers", "/blocking/catalogue")
"""Asked now and then."""

Answers = collections.Counter[tuple[str, str]]


async def ask(client: httpx.AsyncClient, path: str, pause_s: float, ends: float, answers: Answers) -> None:
    """Ask for one path again and again until ``ends`` (``time.monotonic``)."""
    while time.monotonic() < ends:
        try:
            outcome = str((await client.get(path)).status_code)
        except httpx.HTTPError as error:
            outcome = type(error).__name__
        answers[path, outcome] += 1
        await asyncio.sleep(pause_s)


async def load(url: str, *, innocent: list[str], blocking: list[str], seconds: float) -> Answers:
    """Ask until the time is over, and say how often each path answered what."""
    answers: Answers = collections.Counter()
    ends = time.monotonic() + seconds
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        await asyncio.gather(
            *(ask(client, path, 0.2, ends, answers) for path in innocent for _ in range(4)),
            *(ask(client, path, 2.0, ends, answers) for path in blocking),
        )
    return answers


def main() -> None:
    """Read the command line, send the load, print what came back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--innocent", nargs="*", default=list(INNOCENT), metavar="PATH")
    parser.add_argument("--blocking", nargs="*", default=list(BLOCKING), metavar="PATH")
    options = parser.parse_args()
    answers = asyncio.run(
        load(options.url, innocent=options.innocent, blocking=options.blocking, seconds=options.seconds)
    )
    for (path, outcome), count in sorted(answers.items()):
        print(f"{path} {outcome} {count}")


if __name__ == "__main__":
    main()
