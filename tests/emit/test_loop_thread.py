"""What a block costs its loop's thread: counted in calls, which are the same on a machine that is busy."""

from __future__ import annotations

import pytest

from benchmarks.loop_thread import calls, measure
from otel_loopblock.emit.victims import AT_ONCE
from tests.conftest import LOOPS


@pytest.mark.parametrize(("waiting", "most"), [(0, 500), (20, 6_000), (1000, 12_000)])
def test_block_costs_its_loop_a_bounded_number_of_calls_however_many_wait(loop_kind, waiting, most):
    rounds = measure(LOOPS[loop_kind], 5, 0.05, waiting, calls)

    if not rounds:
        pytest.skip("other processes have blocked the loop in each round")
    assert min(counted for counted, _ in rounds) <= most, rounds
    assert max(told for _, told in rounds) >= min(waiting, AT_ONCE)
