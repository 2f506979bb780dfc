"""What a run of the demonstration found, for a terminal."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from otel_loopblock.demo.endpoints import ENDPOINTS, INNOCENT
from otel_loopblock.demo.promises import Promise, Run
from otel_loopblock.local.findings import BlockSeen, Culprit, DelaySeen, culprits
from otel_loopblock.local.statistics import Histogram, quantile
from otel_loopblock.local.waterfall import waterfall
from otel_loopblock.local.wording import milliseconds, short
from otel_loopblock.naming import printable

LATE_S = 0.010
"""Buckets above this are marked."""
MAX_CULPRITS = 6
STACK_LINES = 6


def report(run: Run, judged: Sequence[Promise], width: int) -> RenderableType:
    """The whole report.

    Args:
        run: what was found.
        judged: the promises.
        width: of the terminal, in cells.
    """
    parts: list[RenderableType] = []
    blocks = run.blocks_in(run.before)
    delay = _telling_delay(run, blocks)
    block = run.findings.culprit_of(delay) if delay is not None else _telling_block(blocks)
    if block is not None:
        parts += [_title("A request that blocked the loop" + (", and one that had to wait" if delay else ""))]
        parts += [_trace(run, block, delay, width), "", _event(block)]
    if blocks:
        parts += [_title("What blocked the loop"), _culprits(culprits(blocks), run.threshold_s)]
    if run.lag_before is not None and run.lag_after is not None:
        parts += [_title("The loop's lag, before and after offloading")]
        parts += [_lag(run.lag_before, run.lag_after, width), _shares(run), *_latency(run)]
    parts += [_title("What was promised, and what the OTLP receiver got"), verdict(judged)]
    return Group(*parts)


def verdict(judged: Sequence[Promise]) -> RenderableType:
    """The promises, one each."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for promise in judged:
        mark = Text("ok", "green") if promise.kept else Text("NO", "bold red")
        table.add_row(
            mark, Text(promise.text).append(f": {printable(promise.seen)}", "dim" if promise.kept else "red")
        )
    return table


def _title(text: str) -> RenderableType:
    return Padding(Rule(Text(text, "bold"), align="left", style="dim"), (1, 0, 0, 0))


def _telling_block(blocks: Iterable[BlockSeen]) -> BlockSeen | None:
    """One that lies on a span: of the first endpoint if there is one, of several the longest."""
    on_spans = [block for block in blocks if block.span.name != "event_loop.blocked"]
    first = ENDPOINTS[0].function
    return max(on_spans, key=lambda block: (block.function == first, block.duration_s), default=None)


def _telling_delay(run: Run, blocks: Sequence[BlockSeen]) -> DelaySeen | None:
    """The longest of a request to the innocent that was under way; of the first endpoint if there is one."""
    known = {block.span.trace_id for block in blocks if block.span.name != "event_loop.blocked"}
    first = ENDPOINTS[0].function

    waits = Counter(delay.span.trace_id for delay in run.findings.delays)

    def worth(delay: DelaySeen) -> tuple[bool, bool, bool, float]:
        block = run.findings.culprit_of(delay)
        assert block is not None
        under_way = delay.event.time_unix_ns < block.ended_unix_ns
        once = waits[delay.span.trace_id] == 1
        return under_way, block.function == first, once, delay.delay_s

    candidates = (
        delay
        for delay in run.findings.delays
        if delay.culprit_trace_id in known
        and delay.culprit_trace_id != delay.span.trace_id
        and run.findings.route(delay.span.trace_id) == INNOCENT
    )
    return max(candidates, key=worth, default=None)


def _trace(run: Run, block: BlockSeen, delay: DelaySeen | None, width: int) -> RenderableType:
    findings = run.findings
    trace_id = block.span.trace_id
    victim_id = delay.span.trace_id if delay is not None else None
    drawing = waterfall(
        findings.trace(trace_id),
        [seen for seen in findings.blocks if seen.span.trace_id == trace_id],
        width,
        victim=findings.trace(victim_id) if victim_id is not None else (),
        delays=[seen for seen in findings.delays if seen.span.trace_id == victim_id],
    )
    if delay is None:
        return drawing
    linked = "a span link" if findings.is_linked(delay) else "attributes, but no link,"
    note = Text("The lower request had to wait for the upper one; its trace says so: ")
    note.append(f"{linked} to trace {printable(str(delay.culprit_trace_id))}.")
    return Group(drawing, "", note)


def _event(block: BlockSeen) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(ratio=1)
    table.add_row("event_loop.block.cause", Text(printable(block.cause), "bold"))
    if block.function is not None:
        table.add_row("code.function.name", Text(f"{printable(block.function)}  ({_place(block)})", "bold"))
    if block.call is not None:
        table.add_row("event_loop.block.call", Text(printable(block.call), "bold"))
    if block.advice is not None:
        table.add_row("event_loop.block.advice", Text(printable(block.advice), "green"))
    if block.delayed_requests:
        table.add_row("event_loop.block.delayed_requests", str(block.delayed_requests))
    stack = block.stacktrace.rstrip().splitlines()
    if stack:
        last = [printable(_shortened(line)) for line in stack[-STACK_LINES:]]
        more = len(stack) - len(last)
        text = "\n".join(([f"… {more} more lines"] if more else []) + last)
        table.add_row("code.stacktrace", Text(text, "dim", no_wrap=True, overflow="ellipsis"))
    return table


def _name(seen: BlockSeen | Culprit) -> str:
    """The function without what its file says already."""
    name = short(seen.function)
    return printable(name.removeprefix(os.path.splitext(os.path.basename(seen.file or ""))[0] + "."))


def _place(seen: BlockSeen | Culprit) -> str:
    return f"{printable(os.path.basename(seen.file))}:{seen.line}" if seen.file else "in C"


def _shortened(line: str) -> str:
    """A line of a stack without the folders: where the demonstration is installed says nothing."""
    head, quote, rest = line.strip().partition('File "')
    path, end, tail = rest.partition('"')
    return f"{head}{quote}…/{os.path.basename(path)}{end}{tail}" if quote else line.strip()


def _culprits(found: Sequence[Culprit], threshold_s: float) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    # In one column: side by side, function, line and call do not fit into 80 columns without broken words.
    table.add_column("function, and the call in it", overflow="fold")
    table.add_column("cause", overflow="fold")
    counted = any(culprit.delayed_requests for culprit in found)
    for name in ("count", "p50", "p99", *(["delayed"] if counted else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for culprit in found[:MAX_CULPRITS]:
        table.add_row(
            Text(
                f"{_name(culprit)} {_place(culprit)}"
                + (f"\n→ {printable(culprit.call)}" if culprit.call else "")
            ),
            Text(printable(_causes(culprit))),
            str(len(culprit.blocks)),
            milliseconds(culprit.duration_s(0.5)),
            milliseconds(culprit.duration_s(0.99)),
            *([str(culprit.delayed_requests)] if counted else []),
        )
    left = found[MAX_CULPRITS:]
    note = f"Callbacks of {threshold_s * 1000:g} ms or more, while the blocking endpoints were asked for."
    if counted:
        note += " Delayed: requests that had to wait."
    if left:
        count = sum(len(culprit.blocks) for culprit in left)
        total = milliseconds(sum(culprit.total_s for culprit in left))
        note += f" Left out: {count} by {len(left)} more functions, {total} in all."
    return Group(table, Text(note, "dim"))


def _causes(culprit: Culprit) -> str:
    """``wait``; where they differ, the commonest with how often."""
    causes = culprit.causes
    if len(causes) == 1:
        return causes[0][0]
    return ", ".join(f"{name} {count}" for name, count in causes[:2]) + (", …" if len(causes) > 2 else "")


def _lag(before: Histogram, after: Histogram, width: int) -> RenderableType:
    cells = max(8, min(28, (width - 12 - 2 * 10) // 2))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("timer late by", no_wrap=True, justify="right")
    table.add_column("before", no_wrap=True, width=cells)
    table.add_column("", no_wrap=True, justify="right")
    table.add_column("after", no_wrap=True, width=cells)
    table.add_column("", no_wrap=True, justify="right")
    used = [index for index in range(len(before.counts)) if before.counts[index] or after.counts[index]]
    for index in range(used[0], used[-1] + 1) if used else ():
        bounded = index < len(before.bounds)
        label = f"≤ {before.bounds[index] * 1000:g} ms" if bounded else f"> {before.bounds[-1] * 1000:g} ms"
        late = not bounded or before.bounds[index] > LATE_S
        style = "red" if late else "green"
        table.add_row(
            label,
            _share_bar(before.counts[index], before.count, cells, style),
            str(before.counts[index] or ""),
            _share_bar(after.counts[index], after.count, cells, style),
            str(after.counts[index] or ""),
        )
    return table


def _share_bar(count: int, total: int, cells: int, style: str) -> Text:
    if not count or not total:
        return Text("")
    return Text("█" * max(1, round(cells * count / total)), style)


def _shares(run: Run) -> RenderableType:
    """How much of the time the loop was blocked."""
    text = Text("Blocked: ")
    for name, load in (("before", run.before), ("after", run.after)):
        blocked_s = sum(block.duration_s for block in run.blocks_in(load))
        text.append(f"{min(1.0, blocked_s / load.duration_s):.0%} of the time {name}", "bold")
        text.append(", " if name == "before" else ".")
    return text


def _latency(run: Run) -> list[RenderableType]:
    """What the innocent's senders saw."""
    durations = [[answer.duration_s for answer in load.of(INNOCENT)] for load in (run.before, run.after)]
    if not all(durations):
        return []
    text = Text(f"GET {INNOCENT}, which only awaits 30 ms, took ")
    for name, values in zip(("before", "after"), durations, strict=True):
        middle, worst = (milliseconds(quantile(values, share)) for share in (0.5, 0.99))
        text.append(f"{middle} {name} (p99 {worst})", "bold").append(", " if name == "before" else ".")
    return [text]
