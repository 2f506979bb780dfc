"""A short storm of each kind: what must hold on any machine does."""

from __future__ import annotations

from itertools import cycle

import pytest

from otel_loopblock import core
from tests.conftest import LOOPS
from tests.storms.__main__ import GROWN_MB, STOPPED_S, WAITING, run, violations
from tests.storms.child import STORMS

CALM = {
    "stopped_in_s": 0.1,
    "grown_mb": 1.0,
    "failures": 0,
    "planted": 500,
    "blocks": 490,
    "reports": 290,
    "suppressed": 200,
    "dropped": 10,
    "waiting": 100,
    "may_report": 300,
}


@pytest.mark.parametrize(("storm", "loop"), [*zip(STORMS, cycle(LOOPS))])
def test_storm_leaves_the_process_whole(storm, loop):  # on the other loop, and for longer: by command
    assert violations(run(storm, loop, "on", 2, core.NAME)) == []


@pytest.mark.parametrize(
    "found",
    [
        {"stopped_in_s": STOPPED_S + 1},
        {"grown_mb": GROWN_MB + 1},
        {"failures": 1},
        {"blocks": 0, "planted": 0},
        {"blocks": 489},
        {"suppressed": 199},
        {"reports": 301},
        {"waiting": WAITING + 1},
    ],
)
def test_violation_is_said(found):
    assert violations(CALM) == []
    assert len(violations({**CALM, **found})) == 1
