"""The report as a picture: SVG that needs no font from elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

WIDTH = 100

THEME = TerminalTheme(
    (24, 26, 31),
    (214, 218, 226),
    [
        (24, 26, 31),
        (238, 90, 90),
        (112, 200, 130),
        (232, 190, 90),
        (90, 150, 240),
        (190, 130, 230),
        (80, 185, 205),
        (214, 218, 226),
    ],
)


def save_svg(path: Path, rendered: Callable[[int], RenderableType]) -> None:
    """Save what a terminal of :data:`WIDTH` columns would show.

    Args:
        path: where to.
        rendered: makes the content for a width.

    Raises:
        OSError: the file cannot be written.
    """
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print("$ otel-loopblock demo", style="dim", highlight=False)
    console.print(rendered(WIDTH))
    svg = console.export_svg(title="otel-loopblock demo", theme=THEME)
    # Rich names a font on a content delivery network: a picture in a README loads nothing.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "'DejaVu Sans Mono', Menlo, Consolas, monospace")
    path.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")
