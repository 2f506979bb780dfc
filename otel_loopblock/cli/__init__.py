"""The command ``otel-loopblock``: one module per subcommand, each with ``add_parser`` and ``run``.

``add_parser(subparsers)`` adds the subcommand's own parser, with its help and ``set_defaults(run=run)``;
``run(args)`` does the work and returns the exit code. The module of a subcommand is imported only when that
subcommand was asked for. What an extra installs is imported by its ``run``: the help needs no extra.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from otel_loopblock.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Subcommand:
    """What must be known of a subcommand before its module is imported."""

    help: str
    """One line for ``otel-loopblock --help``, without the extra."""
    extra: str = ""
    """The extra that installs what it needs; empty if the package alone will do."""
    needs: tuple[str, ...] = ()
    """The modules of that extra that it cannot do without."""


SUBCOMMANDS: dict[str, Subcommand] = {
    "demo": Subcommand(
        help="a FastAPI service that blocks, and what its traces say",
        extra="demo",
        needs=(
            "fastapi",
            "httpx",
            "opentelemetry.distro",
            "opentelemetry.instrumentation.fastapi",
            "rich",
            "uvicorn",
        ),
    ),
    "explain": Subcommand(help="what to do about a blocking call"),
    "bench": Subcommand(
        help="what a busy endpoint does to an innocent one",
        extra="bench",
        needs=("fastapi", "httpx", "opentelemetry.sdk", "plotext", "rich", "uvicorn"),
    ),
    "run": Subcommand(
        help="a service of your own, and what blocks its event loops, live",
        extra="run",
        needs=("opentelemetry.distro", "opentelemetry.exporter.otlp.proto.common", "rich"),
    ),
    "attach": Subcommand(
        help="what blocks the loops of a process that runs already (Python 3.14 and later)",
        extra="run",
        needs=("opentelemetry.exporter.otlp.proto.common", "rich"),
    ),
    "gil": Subcommand(help="measure whether a function releases the GIL, holds it, or waits"),
}
"""By name, which is also the name of the module next to this one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; those of the process by default.

    Returns:
        The exit code: that of the subcommand; 2 for a wrong usage (from argparse) and for an extra that is
        not installed; 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="otel-loopblock",
        description="Find what blocks an asyncio or uvloop event loop.",
    )
    parser.add_argument("--version", action="version", version=_version() if "--version" in arguments else "")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    wanted = arguments[0] if arguments else None
    for name, subcommand in SUBCOMMANDS.items():
        if name == wanted:
            import_module(f"{__name__}.{name}").add_parser(subparsers)
        else:
            extra = f" (extra: {subcommand.extra})" if subcommand.extra else ""
            subparsers.add_parser(name, help=subcommand.help + extra)
    args = parser.parse_args(arguments)
    subcommand = SUBCOMMANDS[args.command]
    missing = _missing(subcommand)
    if missing:
        print(
            f"otel-loopblock {args.command}: {', '.join(missing)} not installed; pip install "
            f"'otel-loopblock[{subcommand.extra}]', or in a clone pip install '.[{subcommand.extra}]'",
            file=sys.stderr,
        )
        return 2
    try:
        code: int = args.run(args)
    except KeyboardInterrupt:
        return 130
    return code


def _version() -> str:
    from otel_loopblock import core  # here: it imports asyncio, which no subcommand should pay for

    why = f": {core.WHY}" if core.WHY else ""
    return f"otel-loopblock {__version__}, {core.NAME} core{why}"


def _missing(subcommand: Subcommand) -> list[str]:
    return [name for name in subcommand.needs if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:  # a package above it is missing
        return False
