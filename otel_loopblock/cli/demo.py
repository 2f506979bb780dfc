"""``otel-loopblock demo``: a real FastAPI service that blocks its loop, and what its telemetry says of it."""

from __future__ import annotations

import argparse
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from otel_loopblock.local.interruption import interruptible

SEEN, NOT_SEEN = 0, 1
"""Exit codes; 2, for a wrong usage, is argparse's."""

MIN_DURATION_S, MAX_DURATION_S = 4.0, 30.0
MAX_THRESHOLD_MS = 40.0
"""The demonstration's own blocks last about 50 to 120 ms; on a fast machine some are shorter."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``demo`` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="a FastAPI service that blocks, and what its traces say",
        description="Start a small FastAPI service under opentelemetry-instrument and send it requests that "
        "block its event loop in four ways, then the same with the work offloaded. Show what arrived over "
        "OTLP: the trace of a request that blocked, the culprits, the loop's lag before and after.",
        epilog="Exit code: 0 if all that is promised was seen, 1 if not, 2 for a wrong usage.",
    )
    parser.add_argument(
        "--loop",
        choices=("asyncio", "uvloop"),
        default="uvloop" if find_spec("uvloop") is not None else "asyncio",
        help="the service's event loop (default: %(default)s)",
    )
    parser.add_argument(
        "--duration",
        type=_duration,
        default=12.0,
        metavar="SECONDS",
        help="how long requests are sent, half of it blocking, half of it offloaded (default: %(default)g)",
    )
    parser.add_argument(
        "--threshold-ms",
        type=_threshold,
        default=10.0,
        metavar="MS",
        help="a callback that runs at least this long is a block (default: %(default)g)",
    )
    parser.add_argument(
        "--endpoint",
        type=_endpoint,
        metavar="URL",
        help="send to this OTLP collector, such as http://localhost:4318, instead of a receiver of our own; "
        "OTEL_EXPORTER_OTLP_PROTOCOL, _HEADERS and _CERTIFICATE count",
    )
    parser.add_argument("--svg", type=_new_file, metavar="FILE", help="save the report as a picture, too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the demonstration.

    Returns:
        0 if all that is promised was seen, else 1.

    Raises:
        KeyboardInterrupt: all processes have been ended.
    """
    # Imported here: the help needs no extra.
    from rich.console import Console

    from otel_loopblock.demo import collector, session
    from otel_loopblock.demo.picture import save_svg
    from otel_loopblock.demo.promises import promises
    from otel_loopblock.demo.report import report

    console = Console()
    try:
        with interruptible():
            if args.endpoint is None:
                found = session.observe(
                    console, loop=args.loop, threshold_ms=args.threshold_ms, duration_s=args.duration
                )
                judged = promises(found)
                console.print(report(found, judged, console.width))
                if args.svg is not None:
                    save_svg(args.svg, lambda width: report(found, judged, width))
            else:
                judged = collector.demonstrate(
                    console,
                    args.endpoint,
                    loop=args.loop,
                    threshold_ms=args.threshold_ms,
                    duration_s=args.duration,
                )
    except (RuntimeError, OSError) as error:
        print(f"otel-loopblock demo: {error}", file=sys.stderr)
        return NOT_SEEN
    missed = sum(not promise.kept for promise in judged)
    if missed:
        print(f"otel-loopblock demo: {missed} of {len(judged)} promises not kept", file=sys.stderr)
    return NOT_SEEN if missed else SEEN


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return number


def _duration(text: str) -> float:
    seconds = _number(text)
    if not MIN_DURATION_S <= seconds <= MAX_DURATION_S:
        raise argparse.ArgumentTypeError(
            f"{text} is not from {MIN_DURATION_S:g} to {MAX_DURATION_S:g} seconds"
        )
    return seconds


def _threshold(text: str) -> float:
    milliseconds = _number(text)
    if not 0 < milliseconds <= MAX_THRESHOLD_MS:
        raise argparse.ArgumentTypeError(
            f"{text} is not above 0 and up to {MAX_THRESHOLD_MS:g} ms: the demonstration's blocks are not "
            "much longer"
        )
    return milliseconds


def _endpoint(text: str) -> str:
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL such as http://localhost:4318")
    if url.path.rstrip("/").endswith(("/v1/traces", "/v1/metrics", "/v1/logs")):
        raise argparse.ArgumentTypeError(f"{text!r} is the path of one signal; give what stands before /v1")
    return text.rstrip("/")


def _new_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: it is, or is not in, a folder")
    return path
