"""A process with a real CPU limit: blocks that the limit makes are not the code's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "20000"}, {"cpu.max": "20000 100000"}

PROGRAM = """
import asyncio, json, os, sys
from pathlib import Path
from tests.causes import trial
from tests.causes.culprits import CULPRITS

culprits = [culprit for culprit in CULPRITS if culprit.name in ("Python loop", "time.sleep")]
for culprit in culprits:  # calibrated while it still has all of the CPU
    with culprit.prepare(0.1):
        pass
Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
told = [(v.culprit.name, v.attributes) for v in trial.run(asyncio.new_event_loop, culprits, [0.1], 3)]
print(json.dumps(told))
"""


@pytest.fixture
def limited() -> Iterator[Path]:
    """A group that may use a fifth of a CPU, where this user may make one."""
    for root, limits in zip((Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")), LIMIT, strict=True):
        group = root / f"loopblock-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for name, value in limits.items():
                with open(group / name, "r+") as file:  # the kernel has made it, or this is no cgroup
                    file.write(value)
        except OSError:
            group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no cgroup with a CPU limit can be made here")


def test_block_that_the_limit_makes_is_descheduled_and_the_counters_say_so(limited):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(limited)], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    loops = [attributes for name, attributes in told if name == "Python loop"]
    sleeps = [attributes for name, attributes in told if name == "time.sleep"]

    assert [a["event_loop.block.cause"] for a in loops] == ["descheduled"] * 3, loops
    assert all("CPU limit" in a["event_loop.block.advice"] for a in loops)
    assert any(
        a.get("event_loop.block.throttled_periods", 0) > 0 and a["event_loop.block.throttled_time"] > 0.05
        for a in loops
    ), loops
    assert all(a["event_loop.block.cause"] == "wait" for a in sleeps), sleeps
