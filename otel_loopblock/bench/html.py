"""The report as one HTML file that needs nothing else: tables, and plots as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape as escape_markup

from otel_loopblock.bench.results import Latency, Run, Stage
from otel_loopblock.bench.wording import buckets, milliseconds
from otel_loopblock.naming import printable
from otel_loopblock.version import __version__

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 280, 70, 40, 20
COLOURS = ("#c0392b", "#e59866", "#1f618d", "#7fb3d5")

_STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}th,td{padding:.3em .7em;border-bottom:1px solid #ddd;"
    "text-align:right}td{white-space:nowrap}th:first-child,td:first-child{text-align:left}"
    "svg text{font-size:12px;fill:#444}"
    "p{color:#444}"
)

_READING = (
    "The target is asked in a closed loop: each request is sent when the former one of its place was"
    " answered. The probe is asked at fixed moments whether earlier requests were answered or not, and its"
    " latency counts from the moment at which the request was due; so the time in which the server did not"
    " listen is in the figures."
)


def render(runs: Sequence[Run]) -> str:
    """The whole document."""
    parts = [_run(run) for run in runs]
    title = escape(f"Endpoint benchmark of {runs[0].app}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{_READING}</p>{''.join(parts)}"
        f"<p>otel-loopblock {escape(__version__)}</p></body></html>\n"
    )


def escape(text: str) -> str:
    """Text as HTML shows it; as little of it is believed as in a terminal."""
    return escape_markup(printable(text))


def _run(run: Run) -> str:
    loaded = [stage for stage in run.stages if stage.step.concurrency]
    targets = list(dict.fromkeys(stage.step.target for stage in loaded))
    parts = [f"<h2>{escape(run.loop)}: {', '.join(map(escape, targets))}</h2>", _stages(run)]
    if len(targets) == 1 and len(loaded) > 1:
        parts.append(_latency_plot(run, targets[0]))
    for stage in run.stages:
        parts.append(_lag_plot(stage))
    parts.append(_blocks(run))
    return "".join(parts)


def _stages(run: Run) -> str:
    head = ["target", "in flight", "answers/s", "p50", "p99", "max"]
    head += [f"{run.probe} {name}" for name in ("p50", "p99", "max")] + ["errors"]
    rows = [
        [
            stage.step.target if stage.step.concurrency else "(idle)",
            str(stage.step.concurrency),
            f"{stage.throughput:.1f}",
            *_figures(stage.target),
            *_figures(stage.probe),
            str(stage.target_errors + stage.probe_errors),
        ]
        for stage in run.stages
    ]
    return _table(head, rows)


def _blocks(run: Run) -> str:
    rows = [
        [
            blocks.function,
            blocks.cause,
            stage.step.target if stage.step.concurrency else "(idle)",
            str(stage.step.concurrency),
            str(blocks.count),
            milliseconds(blocks.total_s),
        ]
        for stage in run.stages
        for blocks in stage.blocks
    ]
    if not rows:
        return "<p>No block of 10 ms or more.</p>"
    head = ["culprit", "cause", "target", "in flight", "blocks", "in all"]
    return f"<h3>Blocks of 10 ms or more, by culprit</h3>{_table(head, rows)}"


def _latency_plot(run: Run, target: str) -> str:
    lines: list[tuple[str, list[tuple[int, float]]]] = []
    of: tuple[tuple[str, Callable[[Stage], Latency | None]], ...] = (
        (target, lambda stage: stage.target),
        (run.probe, lambda stage: stage.probe),
    )
    for path, latency_of in of:
        known = [(s.step.concurrency, latency) for s in run.stages if (latency := latency_of(s)) is not None]
        lines.append((f"{path} p99", [(x, latency.p99_s) for x, latency in known]))
        lines.append((f"{path} p50", [(x, latency.p50_s) for x, latency in known]))
    values = [y for _, points in lines for _, y in points]
    low = math.floor(math.log10(max(1e-5, min(values))))
    high = math.ceil(math.log10(max(values))) if max(values) > 10**low else low + 1
    high = max(high, low + 1)
    most = max(x for _, points in lines for x, _ in points)

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(max(y, 10**low)) - low) / (high - low)
        return LEFT + (WIDTH - LEFT - 10) * x / most, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    parts = []
    for power in range(low, high + 1):
        _, y = at(0, 10.0**power)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, milliseconds(10.0**power), "end"))
    for x in sorted({x for _, points in lines for x, _ in points}):
        parts.append(_text(at(x, 1)[0], HEIGHT - BOTTOM + 16, str(x), "middle"))
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 6, "requests in flight", "middle"))
    for number, (label, points) in enumerate(lines):
        colour = COLOURS[number]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for left, top in (at(*point) for point in points):
            parts.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{colour}"/>')
        legend_y = HEIGHT + 16 * number
        parts.append(f'<rect x="{LEFT}" y="{legend_y}" width="12" height="10" fill="{colour}"/>')
        parts.append(_text(LEFT + 18, legend_y + 10, label, "start"))
    return "<h3>Latency (logarithmic)</h3>" + _svg(parts, HEIGHT + 16 * len(lines), "latency")


def _lag_plot(stage: Stage) -> str:
    step = stage.step
    where = f"{step.target}, {step.concurrency} in flight" if step.concurrency else "idle"
    title = f"<h3>Lag of the loop: {escape(where)}</h3>"
    if stage.lag is None or not stage.lag.count:
        return f"{title}<p>Nothing was exported.</p>"
    rows = buckets(stage.lag)
    most = max(count for _, count in rows)
    parts = []
    for number, (name, count) in enumerate(rows):
        y = 20 * number
        width = (WIDTH - LEFT - 80) * count / most
        parts.append(_text(LEFT - 6, y + 14, name, "end"))
        parts.append(f'<rect x="{LEFT}" y="{y + 3}" width="{width:.1f}" height="14" fill="{COLOURS[2]}"/>')
        parts.append(_text(LEFT + width + 6, y + 14, str(count), "start"))
    return title + _svg(parts, 20 * len(rows) + 4, f"lag, {where}")


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
        f' aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _figures(latency: Latency | None) -> tuple[str, str, str]:
    if latency is None:
        return ("", "", "")
    return (milliseconds(latency.p50_s), milliseconds(latency.p99_s), milliseconds(latency.max_s))
