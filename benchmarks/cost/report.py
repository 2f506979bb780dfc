"""Tables of the results, for a terminal and for ``docs/performance.md``."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.cost.counting import LOOPS

BEGIN, END = "<!-- cost:begin -->", "<!-- cost:end -->"
CORES = ("native", "pure")
PEER_WORK = ("callback", "task step")
WORK_NAMES = {
    "callback": "callback (`call_soon`)",
    "task step": "task step",
    "data_received": "`data_received` of a Python protocol, with its `write`: a turn of an echo",
    "span": "span, start to end",
}


@dataclass(frozen=True)
class Table:
    """A heading, the command that makes it, column names, rows."""

    title: str
    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(results: Mapping[str, Any]) -> Iterator[Table]:
    """All that was measured."""
    if ours := results.get("ours"):
        yield _ours(ours)
    if peers := results.get("peers"):
        yield _peers(peers, results.get("ours", {}))
    if times := results.get("throughput"):
        yield _throughput(times)
    if clock := results.get("clock"):
        yield _clock(clock)


def _ours(ours: Mapping[str, Any]) -> Table:
    cores = [core for core in CORES if any(core in ours[loop] for loop in LOOPS)]
    rows = []
    for loop, of_loop in ours.items():
        for work, bare in of_loop["off"].items():
            counts = [of_loop[core][work] if core in of_loop else None for core in cores]
            cells = [cell for count in counts for cell in _of_off(count, bare)]
            rows.append([loop, WORK_NAMES[work], f"{bare:,.0f}", *cells])
    columns = [column for core in cores for column in (f"{core} core", "of off")]
    return Table("Instructions", "make bench-cost", ["loop", "per", "off", *columns], rows)


def _of_off(count: float | None, bare: float) -> tuple[str, str]:
    return (f"{count:,.0f}", f"{count / bare:.2f}") if count is not None else ("", "")


def _peers(peers: Mapping[str, Any], ours: Mapping[str, Any]) -> Table:
    columns = ["", *(f"{loop}: {work}" for loop in LOOPS for work in PEER_WORK)]
    rows = []
    for core in (core for core in CORES if ours and core in ours["asyncio"]):
        cells = [ours[loop][core][work] / ours[loop]["off"][work] for loop in LOOPS for work in PEER_WORK]
        rows.append([f"otel-loopblock, {core} core", *(f"{ratio:.2f}" for ratio in cells)])
    for name, found in peers.items():
        if "missing" in found:
            rows.append([f"{name}: not measured, {found['missing']}", *[""] * 4])
            continue
        cells_: list[str] = []
        for loop in LOOPS:
            of_loop = found[loop]
            if of_loop.get("blind"):
                cells_ += ["sees nothing"] * 2
            elif "missing" in of_loop:
                cells_ += [of_loop["missing"]] * 2
            else:
                cells_ += [f"{of_loop[work]:.2f}" for work in PEER_WORK]
        rows.append([f"{name} {found['version']}".strip(), *cells_])
    return Table(
        "Beside others: instructions, as a multiple of the bare loop", "make bench-cost", columns, rows
    )


def _throughput(times: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for entry in times:
        ratios = entry["ratios"]
        app = {"raw": "raw ASGI", "fastapi": "FastAPI with OpenTelemetry's instrumentation"}[entry["app"]]
        middle = f"{statistics.median(ratios):.2f}"
        rows.append([entry["loop"], app, entry["core"], middle, f"{min(ratios):.2f} to {max(ratios):.2f}"])
    columns = ["loop", "application", "core", "on / off, median", "rounds"]
    return Table("Requests per second", 'make bench-cost BENCH_ARGS="--times"', columns, rows)


def _clock(clock: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for entry in clock:
        tool = {"off": "none"}.get(entry["tool"], entry["tool"])
        if entry["core"]:
            tool += f", {entry['core']} core" + ("" if entry["heartbeat"] else ", no heartbeat")
        cpu = f"{entry['cpu']:.2%}" if entry["what"] == "idle" else ""
        rows.append([entry["loop"], entry["what"], tool, cpu, f"{entry['wake-ups']:.0f}"])
    columns = ["loop", "", "tool", "CPU of a core", "wake-ups of other threads than the loop's, per second"]
    return Table("By the clock", 'make bench-cost BENCH_ARGS="--times"', columns, rows)


def show(results: Mapping[str, Any]) -> None:
    """Print for a terminal."""
    console = Console()
    for table in tables(results):
        shown = RichTable(title=table.title)
        for number, column in enumerate(table.columns):
            shown.add_column(column, justify="left" if number < 2 else "right")
        for row in table.rows:
            shown.add_row(*(cell.replace("`", "") for cell in row))
        console.print(shown)
    console.print(where(results))


def where(results: Mapping[str, Any]) -> str:
    """When and with what it was measured."""
    return f"{results['date']}, Python {results['python']}, uvloop {results['uvloop']}, {results['machine']}."


def markdown(results: Mapping[str, Any]) -> str:
    """The tables as a document has them."""
    parts = [where(results)]
    for table in tables(results):
        head = "| " + " | ".join(table.columns) + " |"
        rule = "|" + " --- |" * len(table.columns)
        rows = ["| " + " | ".join(row) + " |" for row in table.rows]
        parts.append(f"### {table.title}\n\n`{table.command}`\n\n" + "\n".join([head, rule, *rows]))
    return "\n\n".join(parts)


def into(document: Path, text: str) -> None:
    """Replace what stands between the two marks of a document."""
    old = document.read_text()
    if BEGIN not in old or END not in old:
        raise ValueError(f"{document} has no {BEGIN} and {END}")
    new = re.sub(f"{BEGIN}.*{END}", lambda match: f"{BEGIN}\n{text}\n{END}", old, flags=re.DOTALL)
    document.write_text(new)
