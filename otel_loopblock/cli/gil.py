"""``otel-loopblock gil module:function``: does a thread help, or does it take a process?

Exit codes: 0 a verdict was reached, 1 the measurement was inconclusive, 2 wrong usage (bad module, missing
attribute, not callable, arguments that are not JSON), 3 the function raised.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import sys
from typing import Any

from otel_loopblock.cli.target import BadTarget, load_target, one_line

INCONCLUSIVE, USAGE, RAISED = 1, 2, 3


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "gil",
        help="measure whether a function releases the GIL, holds it, or waits",
        description="Runs a function in one thread and in several, and says whether a thread pool helps it,"
        " or a process pool. The function is called many times and in several threads at once.",
        epilog="exit codes: 0 a verdict was reached, 1 inconclusive, 2 wrong usage, 3 the function raised",
    )
    parser.add_argument("target", metavar="MODULE:FUNCTION", help="what to measure, e.g. time:sleep")
    parser.add_argument(
        "--args",
        metavar="JSON",
        default="[]",
        help="arguments: a JSON array, or an object for keyword arguments (default: none)",
    )
    parser.add_argument(
        "--workers", type=int, default=4, help="threads in the parallel runs (default: %(default)s)"
    )
    parser.add_argument(
        "--max-seconds", type=float, default=20.0, help="how long it may take (default: %(default)g)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as a JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print the report, return the exit code."""
    # Imported here: it costs the other subcommands nothing.
    from otel_loopblock.testing.threads.parallelism import check, measure_parallelism

    try:
        positional, keywords = _arguments(args.args)
        fn: Any = load_target(args.target)
        check(fn, args.workers, args.max_seconds)
    except (BadTarget, TypeError, ValueError) as error:
        return _fail(str(error), USAGE)
    try:
        work = functools.partial(fn, *positional, **keywords)
        report = measure_parallelism(work, workers=args.workers, max_seconds=args.max_seconds)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() in a thread included
        return _fail(f"{args.target} raised {one_line(error)}", RAISED)
    report = dataclasses.replace(report, function=args.target)
    if args.json:
        print(json.dumps({key: _finite(value) for key, value in dataclasses.asdict(report).items()}))
    else:
        print(report)
    return INCONCLUSIVE if report.verdict == "inconclusive" else 0


def _arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--args={text!r} is not JSON: {error}") from None
    if isinstance(value, list):
        return value, {}
    if isinstance(value, dict):
        return [], value
    raise ValueError(f"--args={text!r} is neither a JSON array nor an object")


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _fail(message: str, code: int) -> int:
    print(f"otel-loopblock gil: {message}", file=sys.stderr)
    return code
