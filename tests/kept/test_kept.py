"""A thread keeps the GIL while the loop wants to run: the line is told, and on whose behalf it ran."""

from __future__ import annotations

from _thread import get_native_id

import pytest

from otel_loopblock import core
from tests.kept.trial import HOLDERS, NEW_LOOP, hold_all, score

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(core.NAME == "pure", reason="its watchdog needs the GIL to fall asleep"),
    pytest.mark.skipif(core.scheduling(get_native_id()) is None, reason="the kernel counts nothing"),
]


@pytest.mark.parametrize("loop_type", NEW_LOOP)
@pytest.mark.parametrize("way", ["to_thread", "own thread"])
def test_line_that_kept_the_gil_is_told_on_the_span_that_it_worked_for(loop_type, way):
    holds, _ = hold_all(loop_type, way, list(HOLDERS), 2, shortest_s=0.05, longest_s=0.1)

    found = score(holds)
    assert found.holds == 8
    assert found.blamed == 0
    assert found.twice <= 1
    # A machine that is busy may have the loop want to run only when it is over.
    assert min(found.reported, found.lined, found.placed) >= 7
