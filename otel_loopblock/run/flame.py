"""Blocked time by stack: what a flame graph is drawn from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from otel_loopblock.naming import printable

MAX_NODES = 5000
"""Frames in all; what comes after is charged to the frames that are there."""
MAX_DEPTH = 64
"""Innermost frames of one stack."""

_FRAME = re.compile(r'\s*File "(?P<file>.*)", line (?P<line>\d+), in (?P<name>.*)')


class Node:
    """A frame under another one; ``total_s`` includes those under it."""

    __slots__ = ("children", "name", "total_s", "where")

    def __init__(self, name: str, where: str = "") -> None:
        self.name = name
        self.where = where
        """File and line."""
        self.total_s = 0.0
        self.children: dict[tuple[str, str], Node] = {}


class Flame:
    """A tree of frames."""

    def __init__(self) -> None:
        self.root = Node("all blocks")
        self._nodes = 1

    def add(self, stack: str, duration_s: float) -> None:
        """Charge a block to its stack.

        Args:
            stack: as ``code.stacktrace`` has it, outermost first.
            duration_s: of the block.
        """
        node = self.root
        node.total_s += duration_s
        for name, where in list(_frames(stack))[-MAX_DEPTH:]:
            child = node.children.get((name, where))
            if child is None:
                if self._nodes >= MAX_NODES:
                    return
                self._nodes += 1
                child = node.children[name, where] = Node(name, where)
            child.total_s += duration_s
            node = child


def _frames(stack: str) -> Iterator[tuple[str, str]]:
    for line in stack.splitlines():
        frame = _FRAME.match(line)
        if frame is not None:
            file = os.path.join(*frame["file"].split(os.sep)[-2:])
            yield printable(frame["name"]), printable(f"{file}:{frame['line']}")
        elif line.strip() and "omitted]" not in line and line.strip() != "[...]":
            yield printable(line.strip().strip("[]")), ""
