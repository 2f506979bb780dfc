"""What cannot be counted: throughput, and what is done by the clock. Reported, never asserted.

Throughput is the ratio of runs next to each other. An idle or busy loop runs in a process of its own:
``python -m benchmarks.cost.times LOOP TOOL idle|busy HEARTBEAT_MS SECONDS``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cost import tools
from benchmarks.cost.counting import LOOPS, ROOT

DEFAULT_HEARTBEAT_MS = 100.0


def switches() -> dict[int, int]:
    """How often each other thread of this process has gone to sleep."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != os.getpid():
            for line in (task / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    found[int(task.name)] = int(line.split()[1])
    return found


def watch(loop: asyncio.AbstractEventLoop, what: str, seconds: float) -> dict[str, float]:
    """CPU of the process as a share of a core, and wake-ups per second of all threads but the loop's."""

    async def busy() -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await asyncio.sleep(0)

    loop.run_until_complete(asyncio.sleep(1))
    before, wall, cpu = switches(), time.perf_counter(), time.process_time()
    loop.run_until_complete(busy() if what == "busy" else asyncio.sleep(seconds))
    took = time.perf_counter() - wall
    woken = sum(count - before.get(thread, 0) for thread, count in switches().items())
    return {"cpu": (time.process_time() - cpu) / took, "wake-ups": woken / took}


def clock(cores: Sequence[str], seconds: float, peers: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Idle and busy loops, bare, with the package, and idle ones with the others.

    Args:
        cores: of the package.
        seconds: how long each.
        peers: those on each loop that see anything there: ``"loop, tool"`` to their Python.
    """
    for loop in LOOPS:
        yield _clock_of(loop, "off", "", "idle", DEFAULT_HEARTBEAT_MS, seconds)
        for core in cores:
            yield _clock_of(loop, "otel-loopblock", core, "idle", DEFAULT_HEARTBEAT_MS, seconds)
            yield _clock_of(loop, "otel-loopblock", core, "idle", 0.0, seconds)
            yield _clock_of(loop, "otel-loopblock", core, "busy", DEFAULT_HEARTBEAT_MS, seconds)
    for name, python in peers.items():
        loop, _, tool = name.partition(", ")
        yield _clock_of(loop, tool, "", "idle", DEFAULT_HEARTBEAT_MS, seconds, python)


def _clock_of(
    loop: str,
    tool: str,
    core: str,
    what: str,
    heartbeat_ms: float,
    seconds: float,
    python: str = sys.executable,
) -> dict[str, Any]:
    command = [python, "-m", "benchmarks.cost.times", loop, tool, what, str(heartbeat_ms), str(seconds)]
    environment = {**os.environ, "OTEL_PYTHON_LOOPBLOCK_CORE": core} if core else None
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    heartbeat = heartbeat_ms > 0
    return {"loop": loop, "tool": tool, "core": core, "what": what, "heartbeat": heartbeat, **measured}


def throughput(core: str, rounds: int, seconds: int) -> Iterator[dict[str, Any]]:
    """Requests per second, on / off in turns; nothing where the load's program is missing."""
    if shutil.which("wrk") is None:
        return
    from benchmarks import throughput as servers

    os.environ["OTEL_PYTHON_LOOPBLOCK_CORE"] = core
    for loop in LOOPS:
        for app in ("raw", "fastapi"):
            off, on = servers.measure(app, loop, rounds, seconds)
            ratios = sorted(a / b for a, b in zip(on, off, strict=True))
            yield {"loop": loop, "core": core, "app": app, "ratios": ratios}


if __name__ == "__main__":
    kind, tool, what, heartbeat_ms, seconds = sys.argv[1:]
    if tool != "off":
        os.environ["OTEL_PYTHON_LOOPBLOCK_HEARTBEAT_INTERVAL_MS"] = heartbeat_ms
    started = tools.start(tool, kind, rare=False)
    print(json.dumps(watch(started.loop, what, float(seconds))), flush=True)
    os._exit(0)
