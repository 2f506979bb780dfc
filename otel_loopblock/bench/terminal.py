"""The report in the terminal: tables by rich, plots by plotext."""

from __future__ import annotations

import math
from typing import Any

import plotext
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from otel_loopblock.bench.results import Latency, Run, Stage
from otel_loopblock.bench.wording import buckets, milliseconds
from otel_loopblock.naming import printable

BAR_WIDTH = 40


def show(run: Run, console: Console) -> None:
    """Print tables and plot of one run."""
    console.print(stages_table(run))
    if len(run.stages) > 2:
        console.print(latency_plot(run, console.width))
    console.print(*_lag(run.stages[-1]), sep="\n")
    console.print(blocks_table(run))


def stages_table(run: Run) -> Table:
    """One row per stage."""
    target = next((s.step.target for s in run.stages if s.step.concurrency), "")
    table = Table(
        title=Text(
            f"{printable(run.app)} on {run.loop}\n"
            f"target {printable(target)}, probe {printable(run.probe)} at {run.rate:g}/s"
        ),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("in\nflight", justify="right")
    table.add_column("answers\n/s", justify="right")
    for endpoint in ("target", "probe"):
        for figure in ("p50", "p99", "max"):
            table.add_column(f"{endpoint}\n{figure}", justify="right", no_wrap=True)
    failed = any(stage.target_errors + stage.probe_errors for stage in run.stages)
    if failed:
        table.add_column("errors", justify="right")
    for stage in run.stages:
        table.add_row(
            str(stage.step.concurrency),
            f"{stage.throughput:.1f}" if stage.target is not None else "",
            *_figures(stage.target),
            *_figures(stage.probe),
            *([str(stage.target_errors + stage.probe_errors)] if failed else []),
        )
    return table


def blocks_table(run: Run) -> RenderableType:
    """Blocks by culprit, over all stages."""
    found: dict[tuple[str, str], tuple[int, float]] = {}
    for stage in run.stages:
        for blocks in stage.blocks:
            count, total = found.get((blocks.function, blocks.cause), (0, 0.0))
            found[blocks.function, blocks.cause] = (count + blocks.count, total + blocks.total_s)
    if not found:
        return Text("No block of 10 ms or more.")
    table = Table(title="Blocks of 10 ms or more, by culprit", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("culprit", overflow="fold")
    table.add_column("cause")
    for name in ("blocks", "in all", "mean"):
        table.add_column(name, justify="right")
    for (function, cause), (count, total) in sorted(found.items(), key=lambda item: -item[1][1])[:10]:
        table.add_row(
            Text(printable(function)),  # a plain string would be read as markup
            Text(printable(cause)),
            str(count),
            milliseconds(total),
            milliseconds(total / count),
        )
    return table


def latency_plot(run: Run, width: int) -> Text:
    """p99 of both endpoints against the requests in flight."""
    figure: Any = plotext.figure
    figure.clear()
    figure.plot_size(min(width, 90), 16)
    figure.title("p99 in ms against requests in flight")
    highest = 0.0
    for label, points in (
        ("probe", [(stage.step.concurrency, stage.probe) for stage in run.stages]),
        ("target", [(stage.step.concurrency, stage.target) for stage in run.stages]),
    ):
        known = [(x, latency.p99_s * 1e3) for x, latency in points if latency is not None]
        if known:
            x, y = zip(*known, strict=True)
            figure.draw(figure.signal(list(x), list(y), marker="braille").lines().label(f"{label} p99"))
            highest = max(highest, *y)
    heights = _round_ticks(highest)
    levels = [stage.step.concurrency for stage in run.stages]
    figure.ruler("y", "left").lim(0, heights[-1]).ticks(heights, [f"{height:g}" for height in heights])
    figure.ruler("x", "lower").lim(0, max(levels)).ticks(levels, [str(level) for level in levels])
    return Text(plotext.uncolorize(str(figure.build())))


def _round_ticks(highest: float) -> list[float]:
    """Four to eight multiples of 1, 2 or 5 times a power of ten, from 0 to at least ``highest``."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if highest <= 7 * power * factor)
    return [round(step * count, 9) for count in range(math.ceil(highest / step) + 1)]


def _lag(stage: Stage) -> list[RenderableType]:
    title = f"Lag of the loop with {stage.step.concurrency} requests in flight"
    if stage.lag is None or not stage.lag.count:
        return [Text(f"{title}: nothing was exported")]
    rows: list[RenderableType] = [Text(title, style="italic")]
    most = max(stage.lag.counts)
    for name, count in buckets(stage.lag):
        rows.append(Text(f"{name:>10} {'█' * round(BAR_WIDTH * count / most)} {count}"))
    return rows


def _figures(latency: Latency | None) -> tuple[str, str, str]:
    if latency is None:
        return ("", "", "")
    return (milliseconds(latency.p50_s), milliseconds(latency.p99_s), milliseconds(latency.max_s))
