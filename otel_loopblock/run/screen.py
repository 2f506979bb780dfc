"""A panel at the bottom of the terminal, under which nothing else is changed.

The service's bytes go to the terminal as they are: its scrolling region ends above the panel, so that partial
lines, progress bars and colours come out as they would alone. The panel is drawn between two pieces of output
only, and leaves the cursor and its colours as they were.
"""

from __future__ import annotations

import os
import re
import termios
import tty
from collections.abc import Sequence

MIN_ROWS, MIN_COLUMNS = 12, 40
"""A terminal that is smaller has no room for a panel."""
MAX_PANEL = 12

_UNFINISHED = re.compile(rb"\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?)\Z")
"""The beginning of an escape sequence at the end of what was written."""
_SAVE, _RESTORE = "\x1b7", "\x1b8"


class Screen:
    """The terminal, raw on our side, while the service runs on a terminal of its own.

    Args:
        keys: file descriptor that keys are read from.
        display: file descriptor that is written to.
    """

    def __init__(self, keys: int, display: int) -> None:
        self.keys = keys
        self._display = display
        self._mode = termios.tcgetattr(keys)
        self._tail = b""
        self._skipped = 0
        self.rows, self.columns, self.panel = self._measure()

    def open(self) -> None:
        """Make room for the panel, and pass each key on as it comes."""
        tty.setraw(self.keys, termios.TCSADRAIN)
        self._reserve()

    def close(self) -> None:
        """Give the terminal back as it was; the cursor stands below all that was written."""
        end = "" if self._tail.endswith((b"\n", b"\r")) or not self._tail else "\r\n"
        self._write(f"{_SAVE}\x1b[r{self._erased(self.rows - self.panel)}{_RESTORE}\x1b[0m{end}")
        termios.tcsetattr(self.keys, termios.TCSADRAIN, self._mode)

    def resized(self) -> None:
        """The window has another size: make room again."""
        before = self.rows - self.panel
        self.rows, self.columns, self.panel = self._measure()
        first = max(0, min(before, self.rows - self.panel))
        self._write(f"{_SAVE}\x1b[r{self._erased(first)}{_RESTORE}")
        self._reserve()

    def output(self, piece: bytes) -> None:
        """Write what the service wrote, byte by byte as it is."""
        self._tail = (self._tail + piece)[-64:]
        while piece:
            piece = piece[os.write(self._display, piece) :]

    def draw(self, lines: Sequence[str]) -> None:
        """Draw the panel, unless the service is amid a character or an escape sequence.

        Args:
            lines: with colours; those that have no room are left out.
        """
        if self._skipped < 4 and _is_unfinished(self._tail):
            self._skipped += 1
            return
        self._skipped = 0
        first = self.rows - self.panel + 1
        rows = [*lines, *[""] * self.panel][: self.panel]
        drawn = "".join(f"\x1b[{first + row};1H\x1b[0m\x1b[2K{line}" for row, line in enumerate(rows))
        self._write(f"{_SAVE}\x1b[?7l{drawn}\x1b[?7h{_RESTORE}")

    def _measure(self) -> tuple[int, int, int]:
        columns, rows = os.get_terminal_size(self._display)
        rows, columns = max(rows, 2), max(columns, 1)
        return rows, columns, min(MAX_PANEL, rows // 2)

    def _reserve(self) -> None:
        down = "\n" * self.panel  # in raw mode: straight down, and the screen scrolls at its end
        self._write(f"{down}\x1b[{self.panel}A{_SAVE}\x1b[1;{self.rows - self.panel}r{_RESTORE}")

    def _erased(self, first: int) -> str:
        return f"\x1b[{first + 1};1H\x1b[0m\x1b[J"

    def _write(self, text: str) -> None:
        left = text.encode()
        while left:
            left = left[os.write(self._display, left) :]


def is_large_enough(display: int) -> bool:
    """Whether there is room for a panel."""
    columns, rows = os.get_terminal_size(display)
    return rows >= MIN_ROWS and columns >= MIN_COLUMNS


def _is_unfinished(tail: bytes) -> bool:
    if _UNFINISHED.search(tail):
        return True
    for back, byte in enumerate(reversed(tail[-4:]), start=1):
        if byte < 0x80:
            return False
        if byte >= 0xC0:  # the first byte of a character says how many there are
            return back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)
    return False
