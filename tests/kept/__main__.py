"""Prints what is said of threads that keep the GIL, and of a stopped process: ``python -m tests.kept``.

Threads hold the GIL for 50 to 200 ms of CPU time, in random order, while the loop has a timer each 5 ms, or
nothing but the heartbeat. Exit code 1 where fewer than 95 % are reported, fewer than 95 % of these with the
function and line, or anything that the loop's thread ran is blamed.
"""

from __future__ import annotations

import argparse
import logging
import sys

from rich.console import Console
from rich.table import Table

from tests.kept.stops import DOING, stop_all
from tests.kept.trial import HOLDERS, NEW_LOOP, WAYS, hold_all, score

RIGHT = 0.95


def main() -> int:
    """Run the trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=50, help="holds of each kind")
    parser.add_argument("--loop", choices=[*NEW_LOOP, "both"], default="both")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--beside", choices=["ticker", "heartbeat"], action="append")
    parser.add_argument("--stops", type=int, default=20)
    args = parser.parse_args()
    logging.getLogger("otel_loopblock").setLevel(logging.ERROR)
    loops = list(NEW_LOOP) if args.loop == "both" else [args.loop]
    failed = False
    table = Table(title="threads that keep the GIL")
    for column in ("loop", "by", "beside", "holds", "reported", "with line", "and call", "on its span"):
        table.add_column(column, justify="left" if column in ("loop", "by", "beside") else "right")
    for column in ("twice", "loop's own", "longer, ms"):
        table.add_column(column, justify="right")
    for loop_type in loops:
        for way in args.way or WAYS:
            for beside in args.beside or ["ticker", "heartbeat"]:
                holds, _ = hold_all(loop_type, way, list(HOLDERS), args.count, beside=beside)
                found = score(holds)
                off = sorted(found.off_ms)
                table.add_row(
                    *(loop_type, way, beside),
                    *map(str, (found.holds, found.reported, found.lined, found.called, found.placed)),
                    *map(str, (found.twice, found.blamed)),
                    f"{off[len(off) // 2]:.1f}" if off else "",
                )
                enough = found.reported >= RIGHT * found.holds and found.lined >= RIGHT * found.reported
                failed |= not enough or found.blamed > 0
    Console(width=130).print(table)
    table = Table(title="a process that is stopped for 100 ms")
    for column in ("loop", "beside", "stops", "told once", "twice", "not", "descheduled", "with a culprit"):
        table.add_column(column)
    for loop_type in loops if args.stops else ():
        for doing in DOING:
            stops = stop_all(loop_type, doing, args.stops)
            told = [report for reports in stops for report in reports]
            table.add_row(
                *(loop_type, doing, str(len(stops)), str(sum(len(each) == 1 for each in stops))),
                *(str(sum(len(each) > 1 for each in stops)), str(sum(not each for each in stops))),
                str(sum(report.cause == "descheduled" for report in told)),
                str(sum("code.function.name" in report.attributes for report in told)),
            )
    Console(width=130).print(table)
    return failed


if __name__ == "__main__":
    sys.exit(main())
