"""The line that a frame is at, also where its bytecode has none."""

from __future__ import annotations

from functools import lru_cache
from types import CodeType, FrameType


def line_number(frame: FrameType) -> int:
    """The frame's line; where the instruction has none, that of the nearest one before it that has.

    Python 3.10 and 3.11 give the jump back to the head of a loop no line, and it is there that a thread that
    computes gives up the GIL: nearly all looks at such a loop find it without one.

    Args:
        frame: of any thread.
    """
    line: int | None = frame.f_lineno
    return line if line else _line_before(frame.f_code, frame.f_lasti)


@lru_cache(maxsize=1024)
def _line_before(code: CodeType, lasti: int) -> int:
    found = code.co_firstlineno
    for start, _, line in code.co_lines():
        if start > lasti:
            break
        if line:
            found = line
    return found
