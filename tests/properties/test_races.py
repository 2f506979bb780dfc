"""Watchdog and loops race for the GIL: each block is told of once, and nothing fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.service.running import ROOT

SECONDS = os.environ.get("LOOPBLOCK_RACE_SECONDS", "2")
"""On each loop and core."""


@pytest.mark.parametrize("core", ["native", "pure"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_block_is_told_of_exactly_once_although_threads_switch_all_the_time(loop, core):
    if core == "native":
        pytest.importorskip("otel_loopblock.core._native")
    done = subprocess.run(
        [sys.executable, "-m", "tests.properties.races", "--loop", loop, "--seconds", SECONDS],
        cwd=ROOT,
        env={**os.environ, "OTEL_PYTHON_LOOPBLOCK_CORE": core},
        capture_output=True,
        text=True,
        timeout=120 + 10 * float(SECONDS),
    )

    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
