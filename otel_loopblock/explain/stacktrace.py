"""Sampled stacks as text: as a traceback prints them, or with the frames of frameworks folded.

No file is opened, the source is never read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Sequence
from functools import lru_cache
from types import CodeType
from typing import Final

from otel_loopblock.naming import printable, printable_path
from otel_loopblock.naming.text import CUT
from otel_loopblock.watch.evidence import RawFrame

MAX_STACKTRACE_CHARS: Final = 16_384
"""An attribute value has no length limit by default: ours has."""

MAX_PACKAGES: Final = 6
"""Packages named in the line that stands for a stretch of frames."""


def render(stack: Sequence[RawFrame], depth: int, call: str | None = None) -> str:
    """The stack as a traceback prints it, outermost first, without source lines.

    Args:
        stack: outermost first.
        depth: innermost frames to keep.
        call: C call that the innermost frame is in; it has no line of its own.
    """
    left_out = len(stack) - depth
    lines = [f"  [{left_out} outer frames omitted]\n"] if left_out > 0 else []
    lines += [_line(code, line) for code, _, line, _ in stack[-depth:]]
    return _joined(lines, call)


def fold(stack: Sequence[RawFrame], kept: Container[int], depth: int, call: str | None = None) -> str:
    """The same, with relative paths, and one line for each stretch of frames that tell the reader little.

    Args:
        stack: outermost first.
        kept: indices of the frames to show.
        depth: innermost lines to keep.
        call: as for :func:`render`.
    """
    lines: list[str] = []
    folded: list[RawFrame] = []
    for index, frame in enumerate(stack):
        if index not in kept:
            folded.append(frame)
            continue
        lines += _stretch(folded)
        folded = []
        lines.append(_short_line(frame[0], frame[2]))
    lines += _stretch(folded)
    left_out = len(lines) - depth
    if left_out > 0:
        lines = [f"  [{left_out} outer lines omitted]\n", *lines[-depth:]]
    return _joined(lines, call)


def _stretch(frames: Sequence[RawFrame]) -> list[str]:
    if len(frames) < 2:  # its own line is no longer than one that stands for it
        return [_short_line(code, line) for code, _, line, _ in frames]
    packages = list(dict.fromkeys(module.partition(".")[0] for *_, module in frames if module))
    named = ", ".join(printable(package) for package in packages[:MAX_PACKAGES])
    more = f", {CUT}" if len(packages) > MAX_PACKAGES else ""
    return [f"  {CUT} {len(frames)} frames{': ' if named else ''}{named}{more}\n"]


def _joined(lines: list[str], call: str | None) -> str:
    text = "".join([*lines, f"  [in {call}]\n"] if call is not None else lines)
    if len(text) > MAX_STACKTRACE_CHARS:
        text = "  [...]\n" + text[-MAX_STACKTRACE_CHARS:].partition("\n")[2]
    return text


@lru_cache(maxsize=4096)
def _line(code: CodeType, line: int) -> str:
    return f'  File "{printable_path(code.co_filename)}", line {line}, in {printable(code.co_name)}\n'


@lru_cache(maxsize=4096)
def _short_line(code: CodeType, line: int) -> str:
    path = printable_path(relative(code.co_filename))
    return f'  File "{path}", line {line}, in {printable(code.co_name)}\n'


def relative(path: str) -> str:
    """A file's path as seen from where it is imported from: from the application or from site-packages."""
    roots = [os.path.abspath(each) + os.sep for each in (*sys.path, "") if isinstance(each, str)]
    root = max((each for each in roots if path.startswith(each)), key=len, default="")
    return path[len(root) :]
