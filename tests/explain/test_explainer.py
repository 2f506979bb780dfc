"""How a record is made: by what was seen within the stretch, and by the target where nothing was."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.block import Observed
from otel_loopblock.explain.explainer import Explainer
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import Stacks
from otel_loopblock.watch.evidence import Evidence, Look, Reading
from otel_loopblock.watch.target import Target


async def inner():
    pass


@pytest.mark.parametrize(("looked_at", "named"), [(105.0, "explainer.inner"), (115.0, "explainer.outer")])
def test_target_names_a_stretch_in_which_nobody_looked(looked_at, named):
    frame = (outer.__code__, 0, outer.__code__.co_firstlineno, "tests.explain.test_explainer")
    look = Look(looked_at, looked_at, None, 0.0, (frame,), None, ())
    reading = Reading(120.0, None, 0.0)
    monitor = SimpleNamespace(
        loop_type="asyncio",
        thread_id=1,
        thread_name="MainThread",
        listening_since=0.0,
    )
    table = AdviceTable()
    explainer = Explainer(Stacks(OwnCode(), table.lookup), table, 0.01)
    evidence = Evidence(100.0, (look,), None, reading, (), 1, ())
    below = inner()
    task = SimpleNamespace(get_coro=lambda: below, get_name=lambda: "Task-1")

    observed = Observed(monitor, evidence, 110.0, 120.0, Target(None, task), explainer.explain)
    below.close()

    assert observed.block.culprit.function.endswith(named)
    assert observed.block.task_name == "Task-1"


def outer():
    """What was seen to run."""
