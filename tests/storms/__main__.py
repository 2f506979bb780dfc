"""``python -m tests.storms``: each storm off and on in turns, as a table."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.conftest import LOOPS
from tests.storms.child import STORMS

ROOT = Path(__file__).resolve().parents[2]
STOPPED_S = 2.0
"""Stopping waits a second for what is pending, and for what a busy machine adds."""
GROWN_MB = 20.0
WAITING = 2_000
"""Work items."""


def run(storm: str, loop: str, mode: str, seconds: float, core: str) -> dict[str, float]:
    """One process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.storms.child", storm, loop, mode, str(seconds)],
        cwd=ROOT,
        env={**os.environ, "OTEL_PYTHON_LOOPBLOCK_CORE": core},
        capture_output=True,
        text=True,
        timeout=seconds * 5 + 60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{storm} on {loop}, {mode}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def violations(found: dict[str, float]) -> list[str]:
    """What must hold on any machine, however busy."""
    wrong = []
    if found["stopped_in_s"] > STOPPED_S:
        wrong.append(f"uninstrument() took {found['stopped_in_s']:.1f} s")
    if found["grown_mb"] > GROWN_MB:
        wrong.append(f"memory grew by {found['grown_mb']:.0f} MB")
    if found["failures"]:
        wrong.append(f"{found['failures']:.0f} parts failed")
    if not found["blocks"]:
        wrong.append("no block was recorded")
    if found["waiting"] > WAITING:
        wrong.append(f"{found['waiting']:.0f} work items waited")
    if found["reports"] > found["may_report"]:
        wrong.append(f"{found['reports']:.0f} blocks were reported, {found['may_report']:.0f} may be")
    recorded, reported = found["blocks"], found["reports"] + found["suppressed"]
    for counted, what in ((recorded, "recorded"), (reported, "reported")):
        lost = found["planted"] - counted - found["dropped"]
        if lost > 0:
            wrong.append(f"{lost:.0f} blocks were neither {what} nor counted as left out")
    return wrong


def main() -> int:
    """Run what was asked for; 1 where something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.storms", description=__doc__)
    parser.add_argument("storms", nargs="*", metavar="STORM", help=f"default: all of {', '.join(STORMS)}")
    parser.add_argument("--seconds", type=float, default=60, help="of each run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=1, help="off and on in turns (default: %(default)s)")
    parser.add_argument("--loop", choices=sorted(LOOPS), action="append", help="default: both")
    parser.add_argument(
        "--least",
        type=float,
        default=0.5,
        help="of the work without us, on any machine (default: %(default)s)",
    )
    parser.add_argument("--core", choices=["native", "pure"], default="native")
    args = parser.parse_args()
    for storm in args.storms:
        if storm not in STORMS:
            parser.error(f"there is no storm {storm!r}; there are: {', '.join(STORMS)}")
    table = Table(title=f"{args.core} core, {args.rounds} rounds of {args.seconds:g} s")
    for column in ("storm", "loop", "work on / off", "CPU off, on (%)", "lag p50, p95 off (ms)", "on", "MB",
                   "planted", "blocks", "reports", "suppressed", "dropped", "stopped in"):  # fmt: skip
        table.add_column(column, justify="right")
    wrong = []
    for storm in args.storms or STORMS:
        for loop in args.loop or sorted(LOOPS):
            off, on = [], []
            for _ in range(args.rounds):
                off.append(run(storm, loop, "off", args.seconds, args.core))
                on.append(run(storm, loop, "on", args.seconds, args.core))
            last = on[-1]
            ratio = statistics.median(b["per_second"] / a["per_second"] for a, b in zip(off, on, strict=True))
            table.add_row(
                storm,
                loop,
                f"{ratio:.3f}",
                ", ".join(
                    f"{100 * statistics.median(each['cpu'] for each in runs):.1f}" for runs in (off, on)
                ),
                *(
                    f"{statistics.median(each['lag_p50_ms'] for each in runs):.1f}, "
                    f"{statistics.median(each['lag_p95_ms'] for each in runs):.1f}"
                    for runs in (off, on)
                ),
                f"{last['grown_mb']:+.1f}",
                f"{last['planted']:.0f}",
                f"{last['blocks']:.0f}",
                f"{last['reports']:.0f}",
                f"{last['suppressed']:.0f}",
                f"{last['dropped']:.0f}",
                f"{last['stopped_in_s']:.2f} s",
            )
            wrong += [f"{storm}, {loop}: {each}" for found in on for each in violations(found)]
            if ratio < args.least:
                wrong.append(f"{storm}, {loop}: {ratio:.2f} of the work was done")
    Console(width=170).print(table)
    for each in wrong:
        print(f"wrong: {each}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
