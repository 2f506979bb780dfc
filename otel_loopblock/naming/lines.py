"""The line that an instruction is at, also where it has none."""

from __future__ import annotations

from functools import lru_cache
from types import CodeType


@lru_cache(maxsize=1024)
def line_before(code: CodeType, instruction: int) -> int:
    """The line of the nearest instruction at or before this one that has a line.

    Python 3.10 and 3.11 give the jump back to the head of a loop no line, and it is there that a thread that
    computes gives up the GIL: nearly all looks at such a loop find it without one.

    Args:
        code: what runs.
        instruction: its offset in bytes, as ``f_lasti``.
    """
    found = code.co_firstlineno
    for start, _, line in code.co_lines():
        if start > instruction:
            break
        if line:
            found = line
    return found
