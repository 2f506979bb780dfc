"""The nine cells of the shipped example: three kinds of work, each done in three ways."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table

from otel_loopblock.bench.measurement import Plan
from otel_loopblock.bench.results import Run, Step
from otel_loopblock.bench.wording import milliseconds

WORKS = {
    "sleeping": "sleeping driver",
    "releases_gil": "computation that releases the GIL",
    "holds_gil": "computation that holds the GIL",
}
STYLES = {"async": "blocking async def", "offload": "async def, to_thread", "def": "def"}


APP_PATHS = (Path(__file__).parent,)
"""Where the example is: this package's own code is never the application's, unless told so."""


def plan(*, seconds: float, rate: float, concurrency: int, port: int) -> Plan:
    """All nine cells, each with as many requests in flight."""
    return Plan(
        app="otel_loopblock.bench.example:app",
        probe="/health",
        steps=tuple(Step(target=f"/{w}/{s}", concurrency=concurrency) for w in WORKS for s in STYLES),
        seconds=seconds,
        rate=rate,
        port=port,
        app_paths=APP_PATHS,
    )


def table(run: Run) -> Table:
    """One row per kind of work, one column per way of doing it."""
    concurrency = max(stage.step.concurrency for stage in run.stages)
    found = Table(
        title=f"{run.loop}: 50 ms of work, {concurrency} requests in flight; /health at {run.rate:g}/s",
        caption="answers of the work's endpoint per second, its p99, and the p99 of /health meanwhile",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_lines=True,
    )
    found.add_column("work", max_width=16)
    for style in STYLES.values():
        found.add_column(style, justify="right")
    stages = {stage.step.target: stage for stage in run.stages}
    for work, words in WORKS.items():
        cells = []
        for style in STYLES:
            stage = stages[f"/{work}/{style}"]
            assert stage.target is not None
            assert stage.probe is not None
            cells.append(
                f"{stage.throughput:.0f}/s\np99 {milliseconds(stage.target.p99_s)}"
                f"\n/health {milliseconds(stage.probe.p99_s)}"
            )
        found.add_row(words, *cells)
    return found
