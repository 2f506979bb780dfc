"""A short soak, and that its checks see what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.service.running import ROOT
from tests.soak.soak import BOUNDS, Outcome, Reported, compare, look_for_false_ones

MINUTES = os.environ.get("LOOPBLOCK_SOAK_MINUTES", "0.33")

MS = 1_000_000
RIGHT = Reported(7, 1, 100 * MS, 80 * MS, "wait", "app.block")
TRUTH = {"thread": 1, "planted": [(7, 1, 101 * MS, 180 * MS)], "gaps": [(99 * MS, 181 * MS)]}


def violations(*found: Reported, truth=TRUTH) -> list[str]:
    outcome = Outcome("asyncio")
    compare(truth, list(found), outcome)
    look_for_false_ones({"thread": 1, "gaps": []}, outcome)
    return [each.split(":")[0] for each in outcome.violations]


def test_block_that_is_reported_once_on_its_span_is_right():
    assert violations(RIGHT) == []


def test_block_that_is_missing_or_reported_twice_is_a_violation():
    assert violations() == ["block 7 reported 0 times"]
    assert violations(RIGHT, RIGHT) == ["block 7 reported 2 times"]


def test_block_on_the_span_of_another_or_too_short_is_a_violation():
    assert violations(Reported(8, 1, 100 * MS, 80 * MS, "wait", "")) == ["block 7 is on the span of another"]
    assert violations(Reported(7, 1, 100 * MS, 60 * MS, "wait", "")) == ["block 7 of 79 ms"]


def test_report_of_a_time_at_which_the_loop_was_alive_is_a_violation():
    another = Reported(None, 1, 300 * MS, 60 * MS, "wait", "")

    assert violations(RIGHT, another) == ["reported while the loop was alive"]
    still = TRUTH | {"gaps": [(299 * MS, 361 * MS)]}
    assert violations(RIGHT, another, truth=still) == []


def test_growth_is_seen_from_the_second_quarter_to_the_last():
    outcome = Outcome("asyncio")
    outcome.samples["descriptors"] = [1, 1, 10, 10, 11, 11, 20, 20]

    before, after = outcome.quarters("descriptors")

    assert (before, after) == (10, 20)
    assert after > BOUNDS["descriptors"](before)


def test_service_under_mixed_load_on_both_loops():
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--minutes", MINUTES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180 + 120 * float(MINUTES),
    )

    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("reported once") == 2
