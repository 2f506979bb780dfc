"""The line of a frame that another thread looks at."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from otel_loopblock import core
from otel_loopblock.naming import line_before


def spins(stop):
    best = 0
    while not stop:
        for number in range(100_000):
            if number % 7 == 3:
                best = number
            if number > best:
                best = number
    return best


def test_loop_that_computes_is_always_seen_at_a_line_of_its_own():
    stop = []
    thread = threading.Thread(target=spins, args=(stop,))
    thread.start()
    lines = set()
    deadline = time.monotonic() + 20
    looks = 0
    while looks < 200 and time.monotonic() < deadline:
        code, instruction, line, _ = core.stack(thread.ident, 1)[0]
        if code is spins.__code__:
            lines.add(line or line_before(code, instruction))
            looks += 1
    stop.append(True)
    thread.join()
    first = spins.__code__.co_firstlineno
    assert looks == 200
    assert lines <= set(range(first + 2, first + 9)), lines


def test_every_instruction_has_a_line_of_its_function():
    code = spins.__code__
    first = code.co_firstlineno
    for offset in range(0, len(code.co_code), 2):
        assert first <= line_before(code, offset) <= first + 8


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="every instruction of a loop has a line")
def test_instruction_without_a_line_gets_that_of_the_one_before():
    code = spins.__code__
    without = [(start, before) for (start, _, line), before in _pairs(code) if not line and before]
    assert without
    for start, before in without:
        assert line_before(code, start) == before


def _pairs(code):
    """Each stretch of the line table with the last line before it."""
    before = None
    for entry in code.co_lines():
        yield entry, before
        before = entry[2] or before
