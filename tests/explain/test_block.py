"""The record of a block, where no stack was seen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.block import Explainer, Observed, _from_target
from otel_loopblock.explain.stack import OwnCode, Stacks
from otel_loopblock.watch.evidence import Evidence, Look, Reading, Target


async def inner():
    pass


class Coroutine:
    """As asyncio hands it out; ``cr_await`` of a running one crashes CPython 3.12 now and then."""

    def __init__(self, running, below):
        self.cr_running = running
        self.cr_code = Coroutine.__init__.__code__
        self.cr_frame = None
        self.below = below

    @property
    def cr_await(self):
        assert not self.cr_running
        return self.below


@pytest.mark.parametrize(("running", "named"), [(True, "__init__"), (False, "inner")])
def test_task_is_named_by_its_innermost_coroutine_unless_it_runs(running, named):
    below = inner()
    task = SimpleNamespace(get_coro=lambda: Coroutine(running, below))

    culprit, _ = _from_target(Target(None, task))

    assert culprit.function.endswith(named)
    below.close()


@pytest.mark.parametrize(("looked_at", "named"), [(105.0, "test_block.inner"), (115.0, "test_block.outer")])
def test_target_names_a_stretch_in_which_nobody_looked(looked_at, named):
    frame = (outer.__code__, 0, outer.__code__.co_firstlineno, "tests.explain.test_block")
    look = Look(looked_at, looked_at, None, 0.0, (frame,), None, ())
    reading = Reading(120.0, None, 0.0)
    monitor = SimpleNamespace(
        loop_type="asyncio",
        thread_id=1,
        thread_name="MainThread",
        registry=SimpleNamespace(watchdog=SimpleNamespace(tick_s=0.0025)),
    )
    table = AdviceTable()
    explainer = Explainer(Stacks(OwnCode(), table.lookup), table, 0.01)
    evidence = Evidence((look,), None, reading, (), ())
    below = inner()
    task = SimpleNamespace(get_coro=lambda: below, get_name=lambda: "Task-1")

    observed = Observed(monitor, evidence, 110.0, 120.0, Target(None, task), explainer.explain)
    below.close()

    assert observed.block.culprit.function.endswith(named)
    assert observed.block.task_name == "Task-1"


def outer():
    """What was seen to run."""
