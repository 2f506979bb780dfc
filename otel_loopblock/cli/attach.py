"""``otel-loopblock attach PID``: what blocks the loops of a process that runs already.

Exit codes: 0 watched, and taken out again; 1 the process cannot be watched; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

FAILED = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``attach`` to the command line."""
    parser = subparsers.add_parser(
        "attach",
        help="what blocks the loops of a process that runs already",
        description="Watch a running process of your own, on Python 3.14 and later: each block of its event "
        "loops as it happens, with function, line, call, cause, duration and who had to wait. Ctrl-C takes "
        "everything out of it again. This command must run on the same Python version as the process.",
        epilog="Exit code: 0 if it was watched, 1 if it cannot be, 2 for a wrong usage.",
    )
    parser.add_argument("pid", type=_pid, metavar="PID", help="of the process")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=_seconds,
        metavar="SECONDS",
        help="watch for so long (default: until Ctrl-C)",
    )
    parser.add_argument(
        "--threshold-ms",
        metavar="MS",
        help="a callback that runs at least this long is a block (default: as the process's environment "
        "says, or 10)",
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        type=_option,
        metavar="NAME=VALUE",
        help="another option of the instrumentation, such as app_paths=/srv/shop; may be repeated",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave the instrumentation running, with these options, in a process that exports OpenTelemetry",
    )
    parser.add_argument(
        "--path",
        type=_package,
        metavar="DIR",
        help="the folder in which the process finds otel_loopblock (default: where this command has it)",
    )
    parser.set_defaults(run=lambda args: run(args, parser.error))


def run(args: argparse.Namespace, usage_error: Callable[[str], object]) -> int:
    """Watch the process; returns the exit code."""
    from otel_loopblock.attach import viewer  # here: --help works without the extra
    from otel_loopblock.attach.process import CannotAttach
    from otel_loopblock.config import Config

    options = dict(args.option)
    if args.threshold_ms is not None:
        options["threshold_ms"] = args.threshold_ms
    try:
        Config.load(options, {})
    except ValueError as error:
        usage_error(str(error))
    plan = viewer.Plan(pid=args.pid, options=options, seconds=args.seconds, keep=args.keep, package=args.path)
    try:
        viewer.run(plan)
    except CannotAttach as error:
        print(f"otel-loopblock attach: {error}", file=sys.stderr)
        return FAILED
    return 0


def _pid(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a process")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text.removesuffix("s"))
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _package(text: str) -> Path:
    package = Path(text).absolute() / "otel_loopblock"
    if not package.joinpath("attach").is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} has no otel_loopblock that can attach")
    return package
