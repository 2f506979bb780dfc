"""Attaches to a uvicorn under load and detaches again, many times: ``python -m tests.attach.rounds``.

In each round the command is started, one request blocks, and Ctrl-C ends the command. A second with it and
one without take turns, so that the machine's moods fall on both. It prints a table, and exits with 1 where a
request failed, a block was not shown, something was left behind, or an innocent request was over 5 ms
slower at the 99th percentile.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from otel_loopblock.local.statistics import quantile
from tests.attach.running import Service, Viewer, same

CONNECTIONS = 4
PAUSE_S = 0.01
"""Between two requests of one connection."""
AROUND_S = 0.1
"""After a moment that does not count, what waited for it does not either."""
BLOCK_S = 0.05
ALLOWED_S = 0.005


@dataclass
class Load:
    """Innocent requests, one after another on each of some connections."""

    port: int
    seen: list[tuple[float, float]] = field(default_factory=list)
    """When each began, and how long it took."""
    failed: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._connection() for _ in range(CONNECTIONS)))

    async def _connection(self) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            while not self._over.is_set():
                began = time.monotonic()
                writer.write(b"GET /innocent HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                while await reader.readuntil(b"\r\n") != b"0\r\n":
                    pass
                await reader.readuntil(b"\r\n")
                self.seen.append((began, time.monotonic() - began))
                if b" 200 " not in head:
                    self.failed.append(head.decode(errors="replace"))
                await asyncio.sleep(PAUSE_S)
            writer.close()
        except Exception as error:
            self.failed.append(repr(error))

    def within(self, spans: list[tuple[float, float]]) -> list[float]:
        """The latencies of requests that began in one of these stretches of time."""
        return [took for began, took in self.seen if any(first <= began < last for first, last in spans)]


@dataclass
class Result:
    """What was found on one loop."""

    loop: str
    rounds: int
    requests: int
    failed: list[str]
    missed: int
    """Rounds whose block was not shown."""
    without_s: list[float]
    watched_s: list[float]
    attaching_s: list[float]
    before: dict
    after: dict

    @property
    def slower_s(self) -> float:
        """By how much the 99th percentile grew."""
        return quantile(self.watched_s, 0.99) - quantile(self.without_s, 0.99)

    @property
    def is_as_before(self) -> bool:
        """Whether threads, descriptors and attributes are those of before."""
        return same(self.after, self.before)


def run(loop: str, rounds: int, hold_s: float) -> Result:
    """Attach and detach under load.

    Args:
        loop: ``asyncio`` or ``uvloop``.
        rounds: how many times.
        hold_s: how long each half of a round lasts.
    """
    without: list[tuple[float, float]] = []
    watched: list[tuple[float, float]] = []
    attaching: list[tuple[float, float]] = []
    missed = 0
    with tempfile.TemporaryDirectory() as name, Service(Path(name), loop) as service:
        before = service.state()
        with Load(service.port) as load:
            time.sleep(AROUND_S)
            for _ in range(rounds):
                began = time.monotonic()
                time.sleep(hold_s)
                asked = time.monotonic()
                without.append((began, asked - AROUND_S))
                viewer = Viewer(service, Path(name))
                viewer.until("watching process")
                service.get(f"/block/{BLOCK_S}")
                there = time.monotonic() + AROUND_S
                attaching.append((asked, there))
                time.sleep(AROUND_S + hold_s)
                watched.append((there, time.monotonic() - AROUND_S))
                viewer.end(signal.SIGINT)
                missed += "charge_card" not in viewer.text()
                time.sleep(AROUND_S)
        after = service.settled(before)  # the load's connections are gone by then
    return Result(
        loop=loop,
        rounds=rounds,
        requests=len(load.seen),
        failed=load.failed,
        missed=missed,
        without_s=load.within(without),
        watched_s=load.within(watched),
        attaching_s=load.within(attaching),
        before=before,
        after=after,
    )


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each half of a round")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "both"), default="both")
    args = parser.parse_args()
    code = 0
    loops = ("asyncio", "uvloop") if args.loop == "both" else (args.loop,)
    print(
        f"Python {sys.version.split()[0]}; innocent requests, p50 and p99 in ms\n"
        f"{'loop':8} {'rounds':>6} {'requests':>8} {'failed':>6} {'missed':>6} "
        f"{'without':>13} {'watched':>13} {'attaching':>13} {'threads':>9} {'descriptors':>11} {'patched':>7}"
    )
    for loop in loops:
        found = run(loop, args.rounds, args.seconds)
        cells = [
            f"{quantile(each, 0.5) * 1000:5.1f} {quantile(each, 0.99) * 1000:7.1f}"
            for each in (found.without_s, found.watched_s, found.attaching_s)
        ]
        before, after = found.before, found.after
        print(
            f"{loop:8} {found.rounds:6} {found.requests:8} {len(found.failed):6} {found.missed:6} "
            f"{cells[0]:>13} {cells[1]:>13} {cells[2]:>13} "
            f"{before['tasks']:>3} → {after['tasks']:<3} {before['fds']:>4} → {after['fds']:<4} "
            f"{len(after['changed']):>7}",
            flush=True,
        )
        for text in found.failed[:5]:
            print(f"  failed: {text}")
        if found.failed or found.missed or not found.is_as_before or found.slower_s > ALLOWED_S:
            code = 1
            print(f"  not as it should be: p99 {found.slower_s * 1000:+.1f} ms, {after['changed']}")
    return code


if __name__ == "__main__":
    sys.exit(main())
