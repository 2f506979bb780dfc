"""How often ``measure_parallelism`` is right about functions whose nature is known.

    python benchmarks/parallelism.py --times 20 [--neighbours 1] [--cases sleep hashlib …]

With ``--neighbours`` that many other processes keep a CPU busy all the time. The exit code is 1 if any
verdict was wrong, or inconclusive although there was no neighbour.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from otel_loopblock.testing import measure_parallelism

BUFFER = bytes(4_000_000)
TEXT = bytes(range(256)) * 4_000
DOCUMENT = json.dumps([{"number": number, "text": str(number)} for number in range(20_000)])
MATRIX = np.random.default_rng(1).random((400, 400))


def python_loop() -> int:
    total = 0
    for number in range(200_000):
        total += number * number
    return total


def sum_of_range() -> int:
    return sum(range(3_000_000))


CASES: dict[str, tuple[str, Callable[..., object], tuple[Any, ...]]] = {
    "sleep": ("waits", time.sleep, (0.01,)),
    "hashlib": ("releases_gil", hashlib.sha256, (BUFFER,)),
    "zlib": ("releases_gil", zlib.compress, (TEXT,)),
    "numpy": ("releases_gil", np.matmul, (MATRIX, MATRIX)),
    "sum": ("holds_gil", sum_of_range, ()),
    "json": ("holds_gil", json.loads, (DOCUMENT,)),
    "python": ("holds_gil", python_loop, ()),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--neighbours", type=int, default=0)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--verbose", action="store_true", help="print the reports of what was not right")
    args = parser.parse_args()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.neighbours)]
    wrong = inconclusive = 0
    try:
        for name in args.cases:
            expected, fn, fn_args = CASES[name]
            began = time.monotonic()
            found: Counter[str] = Counter()
            for _ in range(args.times):
                report = measure_parallelism(fn, *fn_args)
                found[report.verdict] += 1
                if args.verbose and report.verdict != expected:
                    print(report, f"\n  parallel share {report.parallel_share}")
            wrong += args.times - found[expected] - found["inconclusive"]
            inconclusive += found["inconclusive"]
            seconds = (time.monotonic() - began) / args.times
            print(f"{name:8} {expected:13} {dict(found)}  {seconds:.1f} s each", flush=True)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    print(f"wrong: {wrong}, inconclusive: {inconclusive}")
    return int(wrong > 0 or (inconclusive > 0 and not args.neighbours))


if __name__ == "__main__":
    sys.exit(main())
