"""Progress on a terminal: what is going on now, and what is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


@contextmanager
def step(console: Console, text: str) -> Iterator[Callable[[str], None]]:
    """Show that something is going on, and when it is done, how long it took.

    Gives a function that adds a few words to the line while it is going on. Where the output is no
    terminal there is a line at the end only.
    """
    began = time.monotonic()
    shown = escape(text)
    with console.status(shown, spinner="dots") as status:

        def say(more: str) -> None:
            status.update(f"{shown} [dim]{escape(more)}[/dim]")

        yield say
    console.print(f"[green]done[/green] {shown} [dim]{time.monotonic() - began:.1f} s[/dim]", highlight=False)
