"""Does jobs in one setting, and judges them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from tests.faults.judging import BARE, HEALTHY, Result, judge, problems
from tests.faults.server import Job, Server, Setting

TRIES = 3
"""Runs without a fault, of which one must be as it should be: the machine may be busy."""

TOLD_EACH = 200
"""Jobs between two lines that tell how far it is."""


def run(setting: Setting, server: Server, jobs: Sequence[Job], functions: int) -> Result:
    """Do these, and those again that were seen: a busy machine may be late once."""
    expected, found = {}, []
    for _ in range(TRIES):
        outcomes = server.run([BARE, HEALTHY])
        expected, healthy = outcomes[BARE], outcomes[HEALTHY]
        found = problems(HEALTHY, healthy, expected)
        if not found and healthy["blocks"]:
            break
    else:
        raise RuntimeError(f"{setting}: seen without a fault: {found}")
    began, done = time.monotonic(), [0]

    def told() -> None:
        done[0] += 1
        if done[0] % TOLD_EACH == 0:
            print(f"{setting}: {done[0]} of {len(jobs)}, {time.monotonic() - began:.0f} s", file=sys.stderr)

    outcomes = server.run(jobs, told)
    again = [job for job in jobs if problems(job, outcomes[job], expected)]
    return judge(setting, functions, expected, outcomes, server.run(again))
