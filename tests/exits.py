"""Short processes that end in every way while loops are blocked in several threads: their exit codes.

``python -m tests.exits --runs 500`` starts so many, several at a time, and fails where one of them ended
otherwise than it should have. ``python -m tests.exits child WAY LOOP`` is one of them.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOOPS = ("asyncio", "uvloop")
AT_ONCE = 4
"""Processes: more than there are CPUs, so that each thread is interrupted anywhere."""

TIMEOUT_S = 120.0
INTERRUPTED = -signal.SIGINT

# -- one process ----------------------------------------------------------------------------------------


def instrument() -> None:
    """As a service does, with telemetry that goes nowhere."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from otel_loopblock import LoopBlockInstrumentor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    trace.set_tracer_provider(provider)
    LoopBlockInstrumentor().instrument(log_interval_ms=3_600_000)


def block(random_: random.Random) -> None:
    """Long enough to be looked at, asleep or computing."""
    seconds = random_.choice((0.0, 0.002, 0.012, 0.02))
    if random_.random() < 0.5:
        time.sleep(seconds)
        return
    ended = time.perf_counter() + seconds
    while time.perf_counter() < ended:
        sum(range(100))


async def blocks(seconds: float) -> None:
    """Callbacks for so long."""
    random_ = random.Random()
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        block(random_)
        await asyncio.sleep(0)


def run(loop_kind: str, seconds: float) -> None:
    """A loop in this thread."""
    if loop_kind == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    loop.run_until_complete(blocks(seconds))
    loop.close()


def start(loop_kind: str, seconds: float, daemon: bool) -> threading.Thread:
    """A loop in a thread of its own."""
    thread = threading.Thread(target=run, args=(loop_kind, seconds), daemon=daemon)
    thread.start()
    return thread


def returns(loop_kind: str) -> None:
    run(loop_kind, 0.05)


def leaves_daemons(loop_kind: str) -> None:
    for _ in range(3):
        start(loop_kind, 60.0, daemon=True)
    run(loop_kind, 0.05)


def leaves_threads(loop_kind: str) -> None:
    start(loop_kind, 0.1, daemon=False)
    start(loop_kind, 60.0, daemon=True)


def leaves_an_open_loop(loop_kind: str) -> None:
    import uvloop

    loop = (uvloop if loop_kind == "uvloop" else asyncio).new_event_loop()
    loop.run_until_complete(blocks(0.05))
    loop.call_soon(print, "never")
    sys.kept = loop  # type: ignore[attr-defined]  # until the very end


def exits_in_a_callback(loop_kind: str) -> None:
    start(loop_kind, 60.0, daemon=True)
    loop = asyncio.new_event_loop()

    def leave() -> None:
        time.sleep(0.015)
        sys.exit(3)

    loop.call_later(0.03, leave)
    loop.run_until_complete(blocks(10.0))


def raises(loop_kind: str) -> None:
    start(loop_kind, 60.0, daemon=True)
    run(loop_kind, 0.03)
    raise RuntimeError("meant")


def is_interrupted(loop_kind: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    start(loop_kind, 60.0, daemon=True)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    run(loop_kind, 30.0)


def uninstruments(loop_kind: str) -> None:
    from otel_loopblock import LoopBlockInstrumentor

    start(loop_kind, 60.0, daemon=True)
    run(loop_kind, 0.03)
    LoopBlockInstrumentor().uninstrument()


def exits_in_a_child(loop_kind: str) -> None:
    start(loop_kind, 60.0, daemon=True)
    run(loop_kind, 0.03)
    child = os.fork()
    run(loop_kind, 0.03)
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


WAYS: dict[str, tuple[Callable[[str], None], int]] = {
    "returns": (returns, 0),
    "leaves daemons": (leaves_daemons, 0),
    "leaves threads": (leaves_threads, 0),
    "leaves an open loop": (leaves_an_open_loop, 0),
    "exits in a callback": (exits_in_a_callback, 3),
    "raises": (raises, 1),
    "is interrupted": (is_interrupted, INTERRUPTED),
    "uninstruments": (uninstruments, 0),
    "exits in a child": (exits_in_a_child, 0),
}
"""How a process ends, and with what code."""

# -- many -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ended:
    """One process."""

    way: str
    loop: str
    code: int | None
    """``None``: it did not end."""
    stderr: str

    @property
    def is_right(self) -> bool:
        """Whether it ended as it should have."""
        return self.code == WAYS[self.way][1]


def run_child(way: str, loop: str) -> Ended:
    """Start one and wait for it."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.exits", "child", way, loop]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as expired:
        return Ended(way, loop, None, str(expired.stderr))
    return Ended(way, loop, done.returncode, done.stderr)


def run_all(runs: int, loops: tuple[str, ...] = LOOPS) -> Iterator[Ended]:
    """So many, ways and loops in turns."""
    both = itertools.islice(itertools.cycle(itertools.product(WAYS, loops)), runs)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda each: run_child(*each), both)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.exits", description=__doc__)
    parser.add_argument("--runs", type=int, default=500, help="processes (default: %(default)s)")
    parser.add_argument("--loop", choices=(*LOOPS, "both"), default="both")
    options = parser.parse_args()
    found = list(run_all(options.runs, LOOPS if options.loop == "both" else (options.loop,)))
    codes = collections.Counter((each.way, each.loop, each.code) for each in found)
    for (way, loop, code), count in sorted(codes.items(), key=repr):
        print(f"{way:<24}{loop:<10}{'did not end' if code is None else code!s:>12}{count:>8}")
    wrong = [each for each in found if not each.is_right]
    for each in wrong:
        print(f"\n{each.way}, {each.loop}: {each.code}\n{each.stderr[-3000:]}", file=sys.stderr)
    print(f"{len(found)} processes of Python {sys.version.split()[0]}, {len(wrong)} ended wrongly")
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        instrument()
        WAYS[sys.argv[2]][0](sys.argv[3])
    else:
        sys.exit(main())
