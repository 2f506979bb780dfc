"""The command ``otel-loopblock``: one module per subcommand, each with ``add_parser`` and ``run``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from otel_loopblock.version import __version__

SUBCOMMANDS = ("demo", "explain", "gil", "bench")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments without the program's name; those of the process by default.

    Returns:
        The exit code: that of the subcommand, 2 for a wrong usage (from argparse).
    """
    parser = argparse.ArgumentParser(
        prog="otel-loopblock",
        description="Find what blocks an asyncio or uvloop event loop.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in SUBCOMMANDS:
        module = import_module(f"{__name__}.{name}")
        module.add_parser(subparsers)
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    try:
        code: int = args.run(args)
    except KeyboardInterrupt:
        return 130
    return code
