"""The picture of ``docs/performance.md``: instructions per callback, bare loop = 1, as bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from math import log10
from typing import Any

from benchmarks.cost.counting import LOOPS
from benchmarks.cost.report import CORES

WIDTH, ROW, LEFT, BAR = 780, 22, 210, 500
LEAST, MOST = 0.8, 50.0
OURS, THEIRS = "#2f6fb7", "#9aa3ad"


def bars(results: Mapping[str, Any], loop: str) -> Iterator[tuple[str, float | None, str]]:
    """Name, multiple (``None``: sees nothing there) and colour of each bar."""
    ours = results["ours"][loop]
    for core in CORES:
        if core in ours:
            yield f"otel-loopblock, {core}", ours[core]["callback"] / ours["off"]["callback"], OURS
    for name, found in results.get("peers", {}).items():
        if "missing" not in found and "missing" not in found[loop]:
            yield name, None if found[loop].get("blind") else found[loop]["callback"], THEIRS


def draw(results: Mapping[str, Any]) -> str:
    """An SVG."""

    def place(multiple: float) -> float:
        share = log10(max(multiple, LEAST) / LEAST) / log10(MOST / LEAST)
        return LEFT + BAR * share

    parts: list[str] = []
    y = 30
    for loop in LOOPS:
        parts.append(
            f'<text x="12" y="{y}" font-weight="bold">{loop}: instructions per callback, bare loop = 1</text>'
        )
        y += 10
        top = y
        for name, multiple, colour in bars(results, loop):
            middle = y + ROW / 2 + 4
            parts.append(f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>')
            if multiple is None:
                parts.append(
                    f'<text x="{place(1) + 6:.1f}" y="{middle}" fill="#777">sees nothing on this loop</text>'
                )
            else:
                start, end = sorted((place(1), place(multiple)))
                size = f'width="{end - start:.1f}" height="{ROW - 8}"'
                parts.append(f'<rect x="{start:.1f}" y="{y + 4}" {size} fill="{colour}"/>')
                parts.append(f'<text x="{end + 6:.1f}" y="{middle}">{multiple:.2f}</text>')
            y += ROW
        parts.append(f'<path d="M{place(1):.1f} {top}V{y}" stroke="#444" stroke-dasharray="3 3"/>')
        y += 34
    scale = f"Logarithmic scale; the line is the bare loop. {escape(note(results))}"
    parts.append(f'<text x="12" y="{y - 12}" fill="#777">{scale}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}"'
    style = 'font-family="sans-serif" font-size="13" fill="#222"'
    return "\n".join(
        [f"{head} {style}>", f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>', *parts, "</svg>", ""]
    )


def note(results: Mapping[str, Any]) -> str:
    """Under the bars."""
    return f"Python {results['python'].split(' ')[0]}, {results['date']}"
