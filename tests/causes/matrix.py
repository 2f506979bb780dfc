"""Prints the confusion matrix of the causes: ``python -m tests.causes.matrix`` on a quiet machine.

The trial runs every culprit at 15, 50 and 200 ms, ten times, in random order, on both loops. Exit code 1
when fewer than 95 % of the blocks of 50 and 200 ms are right, more than 2 % are wrong (other than
``unknown``), or fewer than 95 % of their calls are named. On a machine that is not quiet those blocks count
for which the kernel says that other processes did not have the CPU for more than a quarter of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import platform
import sys
from collections import Counter

import uvloop
from rich.console import Console
from rich.table import Table

from tests.causes.culprits import CULPRITS
from tests.causes.trial import Verdict, run

CAUSES = ("cpu", "gil_held", "wait", "gil_contention", "gc", "descheduled", "unknown", "none")
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
COUNTED_S = (0.05, 0.2)


def main() -> int:
    """Run the trial and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.causes.matrix", description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--durations", default="15,50,200", help="in milliseconds")
    parser.add_argument("--loops", default="asyncio,uvloop")
    parser.add_argument("--only", help="culprits whose name contains this")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.getLogger("otel_loopblock").setLevel(logging.CRITICAL)
    culprits = [culprit for culprit in CULPRITS if not args.only or args.only in culprit.name]
    durations = [float(text) / 1000 for text in args.durations.split(",")]
    console = Console(width=150)
    passed = True
    for kind in args.loops.split(","):
        verdicts = run(LOOPS[kind], culprits, durations, args.times, args.seed)
        title = f"Python {platform.python_version()}, {kind}"
        for seconds in durations:
            of_length = [verdict for verdict in verdicts if verdict.wanted_s == seconds]
            console.print(matrix(f"{title}, {seconds * 1000:g} ms", of_length))
        passed &= summarise(console, title, [v for v in verdicts if v.wanted_s in COUNTED_S] or verdicts)
        explain(console, verdicts)
    return 0 if passed else 1


def matrix(title: str, verdicts: list[Verdict]) -> Table:
    """One row per culprit: what was reported, how often, and in how many the call was named."""
    table = Table("culprit", "right", *CAUSES, "named", "function", title=title)
    for culprit in dict.fromkeys(verdict.culprit for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.culprit is culprit]
        counts = Counter(verdict.cause for verdict in own)
        table.add_row(
            culprit.name,
            culprit.cause,
            *(str(counts[cause] or "") for cause in CAUSES),
            f"{sum(v.named for v in own)}/{len(own)}",
            f"{sum(v.at_home for v in own)}/{len(own)}",
        )
    return table


def summarise(console: Console, title: str, verdicts: list[Verdict]) -> bool:
    """Print the shares, of all blocks and of those that had a CPU; tell whether they are good enough."""
    served = [verdict for verdict in verdicts if not verdict.lacked_a_cpu]
    good = False
    for what, some in (("blocks", verdicts), ("of them not kept from a CPU by other processes", served)):
        count = len(some)
        right = sum(v.right for v in some) / count
        wrong = sum(not v.right and v.cause not in ("unknown", "none") for v in some) / count
        named = sum(v.named for v in some) / count
        console.print(
            f"{title}, {count} {what}: right {right:.1%}, wrong {wrong:.1%}, call named {named:.1%}",
            soft_wrap=True,
        )
        good |= right >= 0.95 and wrong <= 0.02 and named >= 0.95
    return good


def explain(console: Console, verdicts: list[Verdict]) -> None:
    """Print what was measured of each block that was judged or named otherwise than it should be."""
    for verdict in verdicts:
        if verdict.right and verdict.named and verdict.at_home:
            continue
        shown = {
            name.removeprefix("event_loop.block."): round(value, 4) if isinstance(value, float) else value
            for name, value in (verdict.attributes or {}).items()
            if name.startswith(("event_loop.block.", "code.function"))
            and not name.endswith(("advice", "threshold", "cause"))
        }
        console.print(
            f"{verdict.culprit.name} {verdict.wanted_s * 1000:g} ms: {verdict.cause} {shown}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


if __name__ == "__main__":
    sys.exit(main())
