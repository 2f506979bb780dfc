"""What is shown in the terminal: the panel while the service runs, lines where there is none, the summary."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from otel_loopblock.emit.attributes import DURATION
from otel_loopblock.local.findings import Findings
from otel_loopblock.local.statistics import Histogram
from otel_loopblock.local.telemetry import Span
from otel_loopblock.local.waterfall import waterfall
from otel_loopblock.local.wording import milliseconds, short
from otel_loopblock.naming import printable
from otel_loopblock.run.intake import Look
from otel_loopblock.run.ledger import Block, Culprit, Found, Route

WIDE, MEDIUM = 110, 76
"""Columns from which on a table has all its columns, or most."""
FIGURE, CAUSE, GAP = len("123 ms"), len("gil_contention"), 2
"""Cells of a column."""
MAX_ROWS = 10
LATE_S = 0.010
"""Buckets above this are marked."""


def duration(seconds: float) -> str:
    """``3.2 ms``, ``120 ms``, ``1.4 s``."""
    return (
        milliseconds(seconds) if seconds < 1 else f"{seconds:.1f} s" if seconds < 100 else f"{seconds:.0f} s"
    )


def panel(look: Look, width: int, rows: int) -> RenderableType:
    """What is shown live.

    Args:
        look: what is known.
        width: of the terminal, in cells.
        rows: that there is room for.
    """
    found = look.found
    parts: list[RenderableType] = [Rule(_status(look), align="left", style="dim")]
    if found.culprits:
        parts.append(culprits_table(found.culprits[: max(1, rows - 4)], width, live=True))
    elif found.lag is not None:
        parts.append(Text("Nothing has blocked the loop so far.", "dim"))
    else:
        parts.append(Text("Waiting for the service's event loop …", "dim"))
    if found.last is not None:
        parts.append(_last(found.last))
    return Group(*parts)


def line(block: Block) -> str:
    """A block in a line, for output that is no terminal."""
    text = f"blocked {duration(block.duration_s)}: {_where(block.place, block.function)}"
    text += f" → {block.call}" if block.call else ""
    text += f" ({block.cause})" + (" and still is" if block.ongoing else "")
    return printable(f"{text}. {block.advice}" if block.advice else f"{text}.", 2000)


def summary(found: Found, worst: Sequence[Span], worst_trace: str | None, width: int) -> RenderableType:
    """What is shown at the end.

    Args:
        found: all that is known.
        worst: the spans of the worst block's trace, and of one that waited for it.
        worst_trace: its id.
        width: of the terminal, in cells.
    """
    parts: list[RenderableType] = []
    if found.culprits:
        parts += [_title("What blocked the loop"), culprits_table(found.culprits[:MAX_ROWS], width)]
        left = found.culprits[MAX_ROWS:]
        if left:
            count = sum(culprit.count for culprit in left)
            parts.append(Text(f"Left out: {count} blocks by {len(left)} more functions.", "dim"))
        parts += _advice(found.culprits[:MAX_ROWS])
    if found.routes:
        parts += [_title("Who had to wait"), _routes(found.routes, width)]
    if found.lag is not None and found.lag.count:
        parts += [_title("The loop's lag"), _lag(found.lag, width)]
    if worst_trace is not None and worst:
        parts += [_title("The longest block on a trace"), _worst(worst, worst_trace, width)]
    return Group(*parts)


def culprits_table(culprits: Sequence[Culprit], width: int, *, live: bool = False) -> Table:
    """A table of culprits, as wide as there is room.

    Args:
        culprits: its rows.
        width: of the terminal, in cells.
        live: whether each must stay on one line.
    """
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    wide, medium = width >= WIDE, width >= MEDIUM
    if wide:
        texts = {"function": 4, "line": 3, "call": 4}
    else:
        texts = {"culprit": 3, "call": 2} if medium else {"culprit": 1}
    figures = ["count", *(["p50"] if medium else []), "p99", "taken from others" if wide else "taken"]
    # On one line each what is cut off is a name, never a figure: the widths are given.
    room = width - CAUSE - sum(max(len(name), FIGURE) for name in figures)
    room -= GAP * (len(texts) + len(figures))
    for name, share in texts.items():
        _add_text_column(table, name, room * share // sum(texts.values()) if live else None)
    _add_text_column(table, "cause", CAUSE if live else None)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True, min_width=max(len(name), FIGURE))
    for culprit in culprits:
        name, place = _name(culprit), _basename(culprit.place)
        if wide:
            cells = [name, place or "?"]
        elif live and not medium:  # the file does not fit
            cells = [f"{name}:{place.rpartition(':')[2]}" if place else name]
        else:
            cells = [f"{name} {place}" if place else name]
        cells += [culprit.call or "(itself)"] if medium else []
        cause = culprit.causes[0][0] if live and culprit.causes else causes(culprit)
        p50 = [optional(culprit.p50_s)] if medium else []
        table.add_row(
            *(Text(printable(cell)) for cell in (*cells, cause)),
            str(culprit.count),
            *p50,
            optional(culprit.p99_s),
            duration(culprit.taken_s) if culprit.delayed else "",
        )
    return table


def _add_text_column(table: Table, name: str, cells: int | None) -> None:
    """One of so many cells, or one as wide as is needed."""
    if cells is None:
        table.add_column(name, overflow="fold")
    else:
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=cells)


def _status(look: Look) -> Text:
    found = look.found
    text = Text("otel-loopblock", "bold")
    if look.ongoing_s:
        text.append(f"  blocked now, for {duration(look.ongoing_s)}", "bold red")
    elif look.lag_now is not None:
        bound, mean = look.lag_now
        style = "green" if bound <= LATE_S else "red"
        text.append("  lag ").append(f"≤ {duration(bound)}", style)
        text.append(f" (mean {duration(mean)})", "dim")
    if found.blocks:
        text.append(f"  {found.blocks} blocks, {duration(found.blocked_s)}")
    return text


def _last(block: Block) -> Text:
    text = Text("last: ", "dim").append(f"{duration(block.duration_s)} ", "bold")
    text.append(printable(_where(block.place, block.function)))
    if block.call:
        text.append(printable(f" → {block.call}"))
    if block.advice:
        text.append(printable(f"  {block.advice}", 500), "green")
    return text


def _title(text: str) -> RenderableType:
    return Padding(Rule(Text(text, "bold"), align="left", style="dim"), (1, 0, 0, 0))


def _advice(culprits: Sequence[Culprit]) -> list[RenderableType]:
    table = Table.grid(padding=(0, 1))
    table.add_column(overflow="fold", ratio=1)
    told: dict[str, list[str]] = {}
    for culprit in culprits:
        if culprit.advice:
            told.setdefault(culprit.advice, []).append(printable(_name(culprit)))
    for advice, functions in told.items():
        more = f" and {len(functions) - 2} more" if len(functions) > 2 else ""
        text = Text(f"{', '.join(functions[:2])}{more}: ", "bold")
        table.add_row(text.append(printable(advice, 1000), "green"))
    return ["", table] if told else []


def _routes(routes: Sequence[Route], width: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("route", overflow="fold")
    for name in ("waited", "in all", "mean", "longest"):
        table.add_column(name, justify="right", no_wrap=True)
    for route in routes[:MAX_ROWS]:
        table.add_row(
            Text(printable(route.route or "(no route)")),
            f"{route.delayed}×",
            duration(route.waited_s),
            duration(route.waited_s / route.delayed if route.delayed else 0.0),
            duration(route.max_s),
        )
    return table


def buckets(lag: Histogram) -> list[tuple[str, int, bool]]:
    """Name, count and whether it is late, of each bucket from the first to the last that has any."""
    used = [index for index, count in enumerate(lag.counts) if count]
    found = []
    for index in range(used[0], used[-1] + 1) if used else ():
        bounded = index < len(lag.bounds)
        bound = lag.bounds[index] if bounded else lag.bounds[-1]
        late = not bounded or bound > LATE_S
        found.append((f"{'≤' if bounded else '>'} {duration(bound)}", lag.counts[index], late))
    return found


def _lag(lag: Histogram, width: int) -> RenderableType:
    cells = max(8, min(50, width - 30))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("timer late by", no_wrap=True, justify="right")
    table.add_column("", no_wrap=True, width=cells)
    table.add_column("times", no_wrap=True, justify="right")
    most = max(lag.counts)
    for name, count, late in buckets(lag):
        bar = "█" * max(1, round(cells * count / most)) if count else ""
        table.add_row(name, Text(bar, "red" if late else "green"), str(count))
    return table


def _worst(spans: Sequence[Span], trace_id: str, width: int) -> RenderableType:
    findings = Findings(spans)
    blocks = [block for block in findings.blocks if block.span.trace_id == trace_id]
    victims = [delay for delay in findings.delays if delay.span.trace_id != trace_id]
    victim = max(victims, key=lambda delay: delay.delay_s, default=None)
    victim_id = None if victim is None else victim.span.trace_id
    drawing = waterfall(
        findings.trace(trace_id),
        blocks,
        width,
        victim=findings.trace(victim_id) if victim_id is not None else (),
        delays=[delay for delay in findings.delays if delay.span.trace_id == victim_id],
    )
    longest = max(blocks, key=lambda block: float(block.attributes.get(DURATION, 0.0)), default=None)
    if longest is None:
        return drawing
    place = None if longest.file is None else f"{longest.file}:{longest.line}"
    text = Text(printable(_where(place, longest.function)), "bold")
    text.append(printable(f" → {longest.call}" if longest.call else "")).append(
        f" ({printable(longest.cause)})"
    )
    text.append(f"\n{printable(longest.advice, 1000)}" if longest.advice else "", "green")
    return Group(drawing, "", text)


def _name(culprit: Culprit) -> str:
    """The function without what its file says already."""
    name = short(culprit.function)
    file = os.path.basename((culprit.place or "").rpartition(":")[0])
    return name.removeprefix(os.path.splitext(file)[0] + ".") if file else name


def _where(place: str | None, function: str | None) -> str:
    return f"{_basename(place)} {short(function)}" if place else short(function)


def _basename(place: str | None) -> str | None:
    return None if place is None else os.path.basename(place)


def optional(seconds: float | None) -> str:
    """Nothing for what is not known."""
    return "" if seconds is None else duration(seconds)


def causes(culprit: Culprit) -> str:
    """``wait``; where they differ, the commonest with how often."""
    told = culprit.causes
    if len(told) <= 1:
        return told[0][0] if told else "unknown"
    shown = ", ".join(f"{name} {count}" for name, count in told[:2])
    return f"{shown}, …" if len(told) > 2 else shown


def drawn(console: Console, renderable: RenderableType) -> list[str]:
    """The lines of what a console would print, with its colours."""
    with console.capture() as capture:
        console.print(renderable, end="")
    return capture.get().splitlines()
