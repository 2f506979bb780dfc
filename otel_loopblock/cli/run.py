"""``otel-loopblock run -- uvicorn app:app``: what blocks the loops of a service of one's own, live.

Exit codes: the service's own; a signal that ended it ends the command as well; 1 where a block was longer
than ``--fail-over``; 2 wrong usage, or a command that cannot be started.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

USAGE = 2


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``run`` to the command line."""
    parser = subparsers.add_parser(
        "run",
        help="a service of your own, and what blocks its event loops, live",
        usage="otel-loopblock run [options] -- command [arguments]",
        description="Start a service instrumented, show live what blocks its event loops, and sum it up when "
        "it ends. The command is whatever starts a Python service: uvicorn app:app --reload, gunicorn …, "
        "python app.py, -m module.",
        epilog="Exit code: the service's own; 1 if a block was longer than --fail-over allows; 2 for a wrong "
        "usage and for a command that cannot be started.",
    )
    parser.add_argument("--html", type=_new_file, metavar="FILE", help="write a report with a flame graph")
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write all figures")
    parser.add_argument(
        "--fail-over",
        type=_duration,
        metavar="TIME",
        help="exit with 1 if a block was longer, such as 50ms or 0.2s",
    )
    parser.add_argument(
        "--threshold-ms",
        type=_threshold,
        metavar="MS",
        help="a callback that runs at least this long is a block (default: as the environment says, or 10)",
    )
    parser.add_argument("service", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(run=lambda args: run(args, parser.error))


def run(args: argparse.Namespace, usage_error: Callable[[str], object]) -> int:
    """Run the service to its end.

    Returns:
        The exit code.
    """
    from otel_loopblock.run import session  # here: --help works without the extra
    from otel_loopblock.run.command import CannotStart
    from otel_loopblock.run.session import Plan

    words = args.service[1:] if args.service[:1] == ["--"] else args.service
    if not words:
        usage_error("no command: otel-loopblock run -- uvicorn app:app")
    plan = Plan(
        words=words,
        threshold_ms=args.threshold_ms,
        fail_over_s=args.fail_over,
        html=args.html,
        json=args.json,
    )
    try:
        return session.run(plan)
    except CannotStart as error:
        print(f"otel-loopblock run: {error}", file=sys.stderr)
        return USAGE


def _duration(text: str) -> float:
    for unit, seconds in (("ms", 1e-3), ("s", 1.0)):
        number = text.removesuffix(unit)
        if number != text:
            try:
                value = float(number) * seconds
            except ValueError:
                break
            if 0 < value < 1e6:
                return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 50ms or 0.2s")


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds above 0")
    return value


def _new_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: it is, or is not in, a folder")
    return path
