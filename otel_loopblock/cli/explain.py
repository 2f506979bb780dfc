"""``otel-loopblock explain CALL``: what is known of a call, and what to do when it blocks the loop."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable

from otel_loopblock.config import Config
from otel_loopblock.explain.advice import AdviceTable, KnownCall
from otel_loopblock.explain.advice.known import COMPUTING, ONLY_WAITING
from otel_loopblock.explain.cause import Cause

FOUND, UNKNOWN = 0, 1
"""Exit codes; 2, for a wrong usage, is argparse's."""

_GIL = {True: "released while it works", False: "held while it works", None: "not documented"}
_CAUSES: tuple[tuple[Cause, str], ...] = (
    ("wait", "when it waits"),
    ("cpu", "when it computes"),
    ("gil_held", "when it holds the GIL"),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``explain`` to the command line."""
    parser = subparsers.add_parser(
        "explain",
        help="what to do about a blocking call",
        description="Print what is known of a call: what it spends its time on, whether other threads run "
        "meanwhile, and what to do instead. Your own advice counts, from the environment variable "
        "OTEL_PYTHON_LOOPBLOCK_ADVICE and from installed packages.",
        epilog="Exit code: 0 for a known call, 1 for an unknown one, 2 for a wrong usage.",
    )
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("call", nargs="?", metavar="CALL", help="as you import it: requests.get, time.sleep")
    wanted.add_argument("--list", action="store_true", help="list all known calls")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one entry, or all.

    Returns:
        0; 1 when the call is not known.
    """
    table = AdviceTable()
    table.load_entry_points()
    table.register(Config.load().advice)
    if args.list:
        _print_list(table.entries())
        return FOUND
    call = args.call.strip().removesuffix("()")
    entry = table.lookup(call)
    if entry is None:
        close = close_matches(call, table.entries())
        hint = f"; did you mean {' or '.join(close)}?" if close else "; see otel-loopblock explain --list"
        print(f"otel-loopblock explain: {call!r} is not a known call{hint}", file=sys.stderr)
        return UNKNOWN
    _print_rows(call, rows(table, call, entry))
    return FOUND


def rows(table: AdviceTable, call: str, entry: KnownCall) -> list[tuple[str, str]]:
    """What is said of one call: labels and texts.

    Args:
        table: where the advice is looked up.
        call: as the user wrote it.
        entry: what ``table`` found for it.
    """
    found = [
        ("matches", entry.pattern),
        ("spends its time on", entry.kind),
        ("GIL", _GIL[entry.releases_gil]),
    ]
    advice: dict[str, list[str]] = {}
    for cause, label in _CAUSES:
        if (entry.kind in COMPUTING) if cause == "wait" else (entry.kind in ONLY_WAITING):
            continue
        sentence = table.advise(cause, call)
        if sentence is not None:
            advice.setdefault(sentence, []).append(label)
    for sentence, labels in advice.items():
        found.append(("advice" if len(advice) == 1 else ", ".join(labels), sentence))
    if entry.source:
        found.append(("source", entry.source))
    return found


def close_matches(call: str, entries: Iterable[KnownCall]) -> list[str]:
    """Known names, three at most, that are spelled almost like ``call`` or end in the same part."""
    names = list(dict.fromkeys(entry.pattern for entry in entries))
    near = difflib.get_close_matches(call, names, 3, 0.7)
    near += [f"{root}.*" for root in difflib.get_close_matches(call.partition(".")[0], _roots(names), 1, 0.8)]
    last = call.rpartition(".")[2].lower()
    same = [name for name in names if name.rpartition(".")[2].lower() == last and not name.startswith("_")]
    return list(dict.fromkeys(near + same))[:3]


def _roots(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.removesuffix(".*") for name in names if name.endswith(".*")))


def _print_rows(title: str, lines: list[tuple[str, str]]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:  # it comes with the extra "demo"; in production there may be the package alone
        print(title)
        for label, text in lines:
            print(f"  {label}: {text}")
        return
    grid = Table.grid(padding=(0, 2))
    for label, text in lines:
        grid.add_row(Text(label, style="dim"), Text(text, overflow="fold"))
    console = Console()
    console.print(Text(title, style="bold"))
    console.print(grid)


def _print_list(entries: tuple[KnownCall, ...]) -> None:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        for entry in entries:
            print(f"{entry.pattern}: {entry.instead}")
        return
    table = Table("call", "kind", "instead", title=f"{len(entries)} known calls and families of calls")
    for entry in entries:
        table.add_row(Text(entry.pattern), entry.kind, Text(entry.instead))
    Console().print(table)
