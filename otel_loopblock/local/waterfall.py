"""Traces as bars over one axis of time, with what blocked and who waited on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from otel_loopblock.local.findings import BlockSeen, DelaySeen, Row
from otel_loopblock.local.telemetry import Span
from otel_loopblock.local.wording import milliseconds
from otel_loopblock.naming import printable

SPAN, BLOCK, DELAY = "━", "█", "▒"
SPAN_STYLE, BLOCK_STYLE, DELAY_STYLE = "cyan", "bold red", "yellow"
SHORTEST_S = 0.0005
"""Spans that are shorter are left out where a trace has longer ones: they cannot be seen."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A stretch of time over a number of cells."""

    started_unix_ns: int
    ended_unix_ns: int
    cells: int

    def bar(self, started_unix_ns: int, ended_unix_ns: int, character: str, style: str) -> Text:
        """A bar from one moment to another, at least one cell long."""
        per_cell = max(1, self.ended_unix_ns - self.started_unix_ns) / self.cells
        first = math.floor((started_unix_ns - self.started_unix_ns) / per_cell)
        first = min(self.cells - 1, max(0, first))
        last = math.ceil((ended_unix_ns - self.started_unix_ns) / per_cell)
        last = min(self.cells, max(first + 1, last))
        return Text(" " * first).append(character * (last - first), style)

    def scale(self) -> Text:
        """Its start and end, as a header."""
        end = milliseconds((self.ended_unix_ns - self.started_unix_ns) / 1e9)
        return Text("0".ljust(self.cells - len(end)) + end, "dim")


def waterfall(
    trace: Sequence[Row],
    blocks: Sequence[BlockSeen],
    width: int,
    *,
    victim: Sequence[Row] = (),
    delays: Sequence[DelaySeen] = (),
) -> Table:
    """Draw a request's trace, and below it, on the same axis, that of a request that had to wait for it.

    Args:
        trace: the spans of the request that blocked.
        blocks: its blocks.
        width: of the whole drawing, in cells.
        victim: the spans of the other request.
        delays: its delays.
    """
    spans = [row.span for row in (*trace, *victim)]
    names_width = min(30, width * 3 // 8)
    axis = Axis(
        min(span.start_unix_ns for span in spans),
        max(span.end_unix_ns for span in spans),
        max(10, width - names_width - 12),
    )
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("", width=names_width, no_wrap=True, overflow="ellipsis")
    table.add_column(axis.scale(), width=axis.cells, no_wrap=True)
    table.add_column("", justify="right", no_wrap=True, min_width=8)
    for row in _visible(trace):
        _add_span(table, axis, row)
        for block in blocks:
            if block.span.span_id == row.span.span_id:
                table.add_row(
                    Text("  " * row.depth + "  event_loop.blocked", BLOCK_STYLE),
                    axis.bar(block.started_unix_ns, block.ended_unix_ns, BLOCK, BLOCK_STYLE),
                    Text(milliseconds(block.duration_s), BLOCK_STYLE),
                )
    if victim:
        table.add_row()
    for row in _visible(victim):
        _add_span(table, axis, row)
        for delay in delays:
            if delay.span.span_id == row.span.span_id:
                table.add_row(
                    Text("  " * row.depth + "  event_loop.delayed", DELAY_STYLE),
                    axis.bar(*waited(delay, blocks), DELAY, DELAY_STYLE),
                    Text(f"≤ {milliseconds(delay.delay_s)}", DELAY_STYLE),
                )
    return table


def waited(delay: DelaySeen, blocks: Sequence[BlockSeen]) -> tuple[int, int]:
    """From when to when somebody waited for one of the blocks; for others there is only a moment."""
    began, length = delay.event.time_unix_ns, int(delay.delay_s * 1e9)
    ends = [block.ended_unix_ns for block in blocks if block.span.trace_id == delay.culprit_trace_id]
    if not ends:
        return began, began
    # A request that arrived amid a block waited before its span began.
    return (began, began + length) if began < max(ends) else (began - length, began)


def _visible(trace: Sequence[Row]) -> list[Row]:
    return [row for row in trace if row.span.duration_s >= SHORTEST_S or row.depth == 0 or row.span.events]


def _add_span(table: Table, axis: Axis, row: Row) -> None:
    span: Span = row.span
    table.add_row(
        Text("  " * row.depth + printable(span.name), "bold" if row.depth == 0 else ""),
        axis.bar(span.start_unix_ns, span.end_unix_ns, SPAN, SPAN_STYLE),
        Text(milliseconds(span.duration_s), "dim"),
    )
