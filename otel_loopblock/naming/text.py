"""Makes text of the application's fit to be shown and sent: one line, valid Unicode, no controls, bounded.

Names of tasks, functions, files, routes and spans come from the application, and through it from its users. A
newline forges a log line, an escape sequence drives a terminal. A lone surrogate cannot be sent: the OTLP
exporter leaves such an attribute out, with a traceback in the log, and of a name loses the whole batch.
"""

from __future__ import annotations

from typing import Final
from unicodedata import category

MAX_NAME: Final = 512
"""Characters of a name: of a function, a call, a task, a thread, a route, a span."""
MAX_PATH: Final = 1024
"""Characters of a file's path."""
MAX_SENTENCE: Final = 1024
"""Characters of a piece of advice."""

CUT: Final = "…"
"""Stands where something was cut off."""

_ESCAPED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, invisible formatting such as a change of direction, lone surrogates, line and paragraph ends."""
_JOINERS: Final = "\u200c\u200d"
"""Formatting too, but part of how words and emoji are written."""
_MAX_KEPT: Final = 4096


class _Shown(dict[int, str]):
    """What stands for a character, as ``str.translate`` asks for it: a name of many is shown on the loop."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        if not (character.isprintable() or character in _JOINERS or category(character) not in _ESCAPED):
            character = character.encode("unicode_escape").decode("ascii")
        if len(self) >= _MAX_KEPT:
            self.clear()
        self[point] = character
        return character


_shown: Final = _Shown()


def printable(text: str, most: int = MAX_NAME) -> str:
    """The text itself, or what can be shown of it: its beginning, with escapes as Python writes them.

    Args:
        text: any.
        most: characters that are kept.
    """
    if len(text) > most:
        text = text[: most - 1] + CUT
    if text.isprintable():
        return text
    text = text.translate(_shown)
    return text if len(text) <= most else text[: most - 1] + CUT


def printable_path(path: str) -> str:
    """Likewise for the path of a file: of one that is too long the end is kept, which tells more."""
    if len(path) > MAX_PATH:
        path = CUT + path[1 - MAX_PATH :]
    if path.isprintable():
        return path
    path = path.translate(_shown)
    return path if len(path) <= MAX_PATH else CUT + path[1 - MAX_PATH :]
