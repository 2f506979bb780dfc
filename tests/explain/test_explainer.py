"""How a record is made: by what was seen within the stretch, and by the target where nothing was."""

from __future__ import annotations

import queue
from types import SimpleNamespace

import pytest

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.block import Observed
from otel_loopblock.explain.explainer import Explainer
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import Stacks
from otel_loopblock.watch.evidence import Delay, Evidence, Look, Reading, Scheduling
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


@pytest.mark.parametrize(("method", "cause"), [("put", "wait"), ("put_nowait", "unknown")])
def test_call_that_says_it_never_waits_is_not_taken_for_a_wait(method, cause):
    codes = [outer.__code__, queue.Queue.put_nowait.__code__, queue.Queue.put.__code__]
    if method == "put":
        del codes[1]
    modules = [__name__, *["queue"] * 2]
    frames = tuple((code, 0, code.co_firstlineno, at) for code, at in zip(codes, modules, strict=False))
    look = Look(100.003, 100.058, 0.001, 0.001, frames, None, (), Scheduling(0.0, 1))
    delays = (Delay(100.003, 100.058, gil_s=0.05, long_s=0.05),)
    before, end = Reading(99.999, 0.0, 0.0), Reading(100.06, 0.001, 0.001, Scheduling(0.0, 2))
    evidence = Evidence(100.0, (look,), before, end, delays, 1, ())
    monitor = SimpleNamespace(loop_type="asyncio", thread_id=1, thread_name="Main", listening_since=0.0)
    table = AdviceTable()
    explainer = Explainer(Stacks(OwnCode(), table.lookup), table, 0.01)

    block = Observed(monitor, evidence, 100.0, 100.06, Target(None, None), explainer.explain).block

    assert block.call == f"queue.Queue.{method}"
    assert block.cause == cause


def outer():
    """What was seen to run."""
