"""How long a block may cost the loop's thread for those who waited."""

from __future__ import annotations

import pytest

from otel_loopblock.config import Config
from otel_loopblock.emit.delays import Delays


@pytest.mark.parametrize(
    ("lasted_s", "budget_s"), [(0.01, 0.0005), (0.02, 0.0005), (0.1, 0.0025), (2.0, 0.05)]
)
def test_time_for_those_who_waited_grows_with_the_block(lasted_s, budget_s):
    nothing = dict.fromkeys(("instruments", "functions", "routes", "tracer", "logger_provider"))
    delays = Delays(Config(), lambda work: None, **nothing)

    assert delays.new_victims(lasted_s)._budget_s == pytest.approx(budget_s)
