"""Prints what is said of real libraries: ``python -m tests.cases [--only NAME] [--loops uvloop]``.

Each case blocks both loops three times. Exit code 1 when fewer than 98 % of the blocks have the right
culprit, fewer than 95 % the right call, or the advice of one contradicts the code that is there. Cases whose
libraries are not installed are listed, and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

import uvloop
from rich.console import Console
from rich.table import Table

from tests.cases import CASES
from tests.cases.trial import Verdict, run

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def main() -> int:
    """Run the trial and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.cases", description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--loops", default="asyncio,uvloop")
    parser.add_argument("--only", help="cases whose name contains this")
    args = parser.parse_args()
    logging.getLogger("otel_loopblock").setLevel(logging.CRITICAL)
    wanted = [case for case in CASES if not args.only or args.only in case.name]
    cases = [case for case in wanted if case.can_run]
    console = Console(width=150)
    missing = [case.name for case in wanted if not case.can_run]
    if missing:
        console.print(f"not installed, left out: {', '.join(missing)}")
    verdicts = [verdict for kind in args.loops.split(",") for verdict in run(LOOPS[kind], cases, args.times)]
    console.print(table(verdicts))
    for verdict in verdicts:
        if not verdict.at_home or not verdict.named or verdict.contradicts:
            shown = {
                name.rpartition(".")[2]: value
                for name, value in verdict.attributes.items()
                if name.endswith((".name", ".call", ".cause", ".advice", ".samples", ".duration"))
            }
            console.print(f"{verdict.case.name}: {shown}", markup=False, highlight=False, soft_wrap=True)
    return 0 if passed(verdicts) else 1


def table(verdicts: Sequence[Verdict]) -> Table:
    """One row per case."""
    found = Table("kind", "case", "blocks", "culprit right", "call right", "contradicts")
    for case in sorted(dict.fromkeys(v.case for v in verdicts), key=lambda case: case.kind):
        own = [verdict for verdict in verdicts if verdict.case is case]
        found.add_row(str(case.kind), case.name, *map(str, _counts(own)))
    found.add_section()
    found.add_row("", "all", *map(str, _counts(verdicts)))
    return found


def _counts(verdicts: Sequence[Verdict]) -> tuple[int, int, int, int]:
    return (
        len(verdicts),
        sum(v.at_home for v in verdicts),
        sum(v.named for v in verdicts),
        sum(v.contradicts for v in verdicts),
    )


def passed(verdicts: Sequence[Verdict]) -> bool:
    """Whether it is good enough."""
    count, at_home, named, contradicting = _counts(verdicts)
    return bool(count) and at_home >= 0.98 * count and named >= 0.95 * count and not contradicting


if __name__ == "__main__":
    sys.exit(main())
