"""``otel-loopblock bench app:app``: what a busy endpoint does to an innocent one.

Exit codes: 0 measured; 1 the app did not start, died, or answered with errors only; 2 wrong usage (no such
module or attribute, no such endpoint, port in use, a file that cannot be written); 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from otel_loopblock.local.interruption import interruptible

if TYPE_CHECKING:  # the help needs no extra
    from rich.console import Console

    from otel_loopblock.bench.measurement import Plan
    from otel_loopblock.bench.results import Run

FAILED, USAGE = 1, 2


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bench`` to the command line."""
    parser = subparsers.add_parser(
        "bench",
        help="what a busy endpoint does to an innocent one",
        description="Start an ASGI application under uvicorn, load one endpoint with more and more requests "
        "in flight, and ask another one at a fixed rate meanwhile. Show the latencies of both, the lag of "
        "the loop, and what blocked it.",
        epilog="exit codes: 0 measured; 1 the app did not start, died, or answered with errors only; 2 wrong "
        "usage: no such module, attribute or endpoint, port in use, a file that cannot be written",
    )
    parser.add_argument("app", nargs="?", metavar="MODULE:APP", help="the application, as for uvicorn")
    parser.add_argument("--target", type=_path, metavar="PATH", help="the endpoint to load")
    parser.add_argument(
        "--probe",
        type=_path,
        default="/health",
        metavar="PATH",
        help="the innocent one (default: %(default)s)",
    )
    parser.add_argument(
        "--example",
        action="store_true",
        help="measure the shipped example instead: the same work blocking, offloaded, and in def endpoints",
    )
    parser.add_argument(
        "--loop",
        choices=("asyncio", "uvloop", "both"),
        default="uvloop" if find_spec("uvloop") is not None else "asyncio",
        help="the server's event loop (default: %(default)s)",
    )
    parser.add_argument(
        "--concurrency",
        type=_concurrency,
        metavar="N[,N…]",
        help="requests to the target in flight, one stage each (default: 1,2,4,8; for the example 4)",
    )
    parser.add_argument(
        "--seconds", type=_positive, default=4.0, metavar="S", help="per stage (default: %(default)g)"
    )
    parser.add_argument(
        "--rate",
        type=_positive,
        default=50.0,
        metavar="R",
        help="requests to the probe per second, sent on time whatever happens (default: %(default)g)",
    )
    parser.add_argument("--method", default=None, help="for the target (default: GET; with --body POST)")
    parser.add_argument("--body", type=_json, metavar="JSON", help="sent to the target")
    parser.add_argument(
        "--port", type=int, default=0, help="where the server listens (default: any free one)"
    )
    parser.add_argument("--html", type=_new_file, metavar="FILE", help="write a report with plots")
    parser.add_argument("--json", type=_new_file, metavar="FILE", help="write all figures")
    parser.set_defaults(run=lambda args: run(args, parser.error))


def run(args: argparse.Namespace, usage_error: Callable[[str], object]) -> int:
    """Measure and report; returns the exit code.

    Raises:
        KeyboardInterrupt: all processes have been ended.
    """
    if args.example and (args.app or args.target):
        usage_error("--example comes with its own application and endpoints")
    if not args.example and not (args.app and args.target):
        usage_error("MODULE:APP and --target are needed, or --example")
    if args.loop != "asyncio" and find_spec("uvloop") is None:
        usage_error(f"--loop {args.loop}: uvloop is not installed")
    # Imported here, as below: the help needs no extra.
    from rich.console import Console

    from otel_loopblock.bench import cells, html, terminal
    from otel_loopblock.bench.measurement import BadPlan, BenchError

    loops = ("asyncio", "uvloop") if args.loop == "both" else (args.loop,)
    plan = _plan(args)
    console = Console()
    try:
        with interruptible():
            runs = [_measured(plan, loop, console) for loop in loops]
    except BenchError as error:
        print(f"otel-loopblock bench: {error}", file=sys.stderr)
        return USAGE if isinstance(error, BadPlan) else FAILED
    for found in runs:
        if args.example:
            console.print(cells.table(found))
        else:
            terminal.show(found, console)
    if args.html is not None:
        args.html.write_text(html.render(runs), encoding="utf-8")
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(found) for found in runs], indent=1), encoding="utf-8")
    return 0


def _measured(plan: Plan, loop: str, console: Console) -> Run:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from otel_loopblock.bench.measurement import measure

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=len(plan.steps) * plan.seconds)
        return measure(plan, loop, lambda text, done: bar.update(task, description=text, advance=done))


def _plan(args: argparse.Namespace) -> Plan:
    from otel_loopblock.bench import cells
    from otel_loopblock.bench.measurement import Plan
    from otel_loopblock.bench.results import Step

    if args.example:
        concurrency = args.concurrency[-1] if args.concurrency else 4
        return cells.plan(seconds=args.seconds, rate=args.rate, concurrency=concurrency, port=args.port)
    # First of all without load: what follows means nothing without it.
    levels = (0, *(args.concurrency or (1, 2, 4, 8)))
    return Plan(
        app=args.app,
        probe=args.probe,
        steps=tuple(Step(target=args.target, concurrency=level) for level in levels),
        seconds=args.seconds,
        rate=args.rate,
        method=args.method or ("POST" if args.body is not None else "GET"),
        body=args.body,
        port=args.port,
        app_paths=cells.APP_PATHS if args.app.startswith("otel_loopblock.bench.") else (),
    )


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with /")
    return text


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _concurrency(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value <= 1000 for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of whole numbers from 1 to 1000")
    return values


def _json(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
    return text


def _new_file(text: str) -> Path:
    """Checked before minutes are spent on measuring."""
    path = Path(text)
    try:
        with path.open("a"):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {error.strerror}") from None
    return path
