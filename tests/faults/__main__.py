"""``python -m tests.faults``: every function of the package raises, on both loops and both cores."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.faults.judging import AFTER, BEFORE, GUARDS, KINDS, Result, table
from tests.faults.running import run
from tests.faults.server import Job, Server, Setting

SETTINGS = [Setting(core, loop) for core in ("native", "pure") for loop in ("asyncio", "uvloop")]
"""Where."""

REACHING = 3
"""Runs that are looked at for the functions they call."""


def main() -> int:
    """Break all of them, print what was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--core", choices=("native", "pure"))
    parser.add_argument("--loop", choices=("asyncio", "uvloop"))
    parser.add_argument("--only", default="", help="functions with this in their name")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--all", action="store_true", help="also those that no run without a fault calls")
    parser.add_argument("--at-once", type=int, default=4, help="processes per setting (default: 4)")
    args = parser.parse_args()
    settings = [
        each for each in SETTINGS if args.core in (None, each.core) and args.loop in (None, each.loop)
    ]
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        tried = [pool.submit(_try, each, args) for each in settings]
    failed = [error for each in tried if (error := each.exception()) is not None]
    results = [each.result() for each in tried if each.exception() is None]
    print(table(results))
    print(f"{time.monotonic() - began:.0f} s", *failed, sep="\n")
    return 1 if failed or any(result.seen for result in results) else 0


def _try(setting: Setting, args: Any) -> Result:
    server = Server(setting, args.at_once)
    try:
        functions = server.functions()
        unknown = GUARDS.keys() - {*functions, *(name for name in GUARDS if name.startswith("core.pure."))}
        if unknown:
            raise RuntimeError(f"there is no {', '.join(sorted(unknown))}")
        reached = {name for _ in range(REACHING) for name in server.reached()}
        chosen = [
            name
            for name in functions
            if name not in GUARDS and args.only in name and (args.all or name in reached)
        ]
        jobs = [
            Job(name, kind, when)
            for name in chosen
            for kind in args.kind or KINDS
            for when in (BEFORE, AFTER)
        ]
        return run(setting, server, jobs, len(functions))
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
