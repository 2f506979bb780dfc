"""The command."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.soak.soak import soak


def main() -> int:
    """Soak, print the figures; 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--loop", choices=["asyncio", "uvloop", "both"], default="both")
    options = parser.parse_args()
    loops = ["asyncio", "uvloop"] if options.loop == "both" else [options.loop]
    with ThreadPoolExecutor(len(loops)) as pool:
        outcomes = list(pool.map(lambda loop: soak(loop, options.minutes * 60), loops))
    for outcome in outcomes:
        print(outcome.text(), flush=True)
    return int(any(outcome.violations for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
