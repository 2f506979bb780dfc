"""``otel-loopblock explain CALL``: what is known of a call, and what to do when it blocks the loop."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable

from otel_loopblock.cli.aliases import ABBREVIATIONS, PACKAGES, spellings
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
    wanted.add_argument(
        "call",
        nargs="?",
        metavar="CALL",
        help="a call or a library: requests.get, time.sleep, pandas, scikit-learn",
    )
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
    found = find(table, call)
    if found is None:
        close = close_matches(call, table.entries())
        hint = f"; did you mean {' or '.join(close)}?" if close else "; see otel-loopblock explain --list"
        print(f"otel-loopblock explain: {call!r} is not a known call{hint}", file=sys.stderr)
        return UNKNOWN
    name, entry, others = found
    lines = rows(table, name, entry)
    if others:
        lines.append(("see also", ", ".join(others)))
    _print_rows(call, lines)
    return FOUND


def find(table: AdviceTable, call: str) -> tuple[str, KnownCall, list[str]] | None:
    """What the table knows of a call, or of a library.

    Args:
        table: where it is looked up.
        call: as the user wrote it: a call, a module, an abbreviation (``np``), a package (``scikit-learn``).

    Returns:
        The name that was found, its entry, and patterns of the same library that are told something else;
        ``None`` for what is not known.
    """
    entries = table.entries()
    for name in spellings(call):
        entry = table.lookup(name)
        family = [other for other in entries if other.pattern.startswith(f"{name}.")]
        whole = next((other for other in family if other.pattern == f"{name}.*"), None)
        if entry is not None and (whole is None or entry.pattern == name):
            return name, entry, []
        if family:
            best = whole or family[0]
            others = {other.instead: other.pattern for other in reversed(family)}
            others.pop(best.instead, None)
            return best.pattern, best, sorted(others.values())
    return None


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
        found.append(("checked", entry.checked or "no date"))
    return found


def close_matches(call: str, entries: Iterable[KnownCall]) -> list[str]:
    """Known names, three at most, that are spelled almost like ``call`` or end in the same part."""
    names = list(dict.fromkeys(entry.pattern for entry in entries))
    wanted, root = call.lower(), call.lower().partition(".")[0]
    near = [
        *_near(wanted, [*names, *ABBREVIATIONS, *PACKAGES], 0.7),
        *(f"{library}.*" for library in _near(root, {name.partition(".")[0] for name in names}, 0.8)),
    ]
    last = wanted.rpartition(".")[2]
    same = [name for name in names if name.rpartition(".")[2].lower() == last and not name.startswith("_")]
    beside = [name for name in names if name.lower().startswith(f"{root}.")]
    return list(dict.fromkeys(near + same + beside))[:3]


def _near(wanted: str, names: Iterable[str], cutoff: float) -> list[str]:
    """At most three of the names, as they are spelled; capitals do not count."""
    spelled = {name.lower(): name for name in names}
    return [spelled[name] for name in difflib.get_close_matches(wanted, sorted(spelled), 3, cutoff)]


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
