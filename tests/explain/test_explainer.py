"""How a record is made: by what was seen within the stretch, and by the target where nothing was."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.block import Observed
from otel_loopblock.explain.explainer import Explainer
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import Stacks, find
from otel_loopblock.watch.evidence import Evidence, Look, Reading, Watch
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


MONITOR = SimpleNamespace(loop_type="asyncio", thread_id=1, thread_name="MainThread", listening_since=0.0)


def look(at, *modules):
    frames = tuple((outer.__code__, 0, outer.__code__.co_firstlineno, module) for module in modules)
    return Look(at, at, None, 0.0, frames, None, ())


def block_of(explainer, looks, began, entry=None):
    evidence = Evidence(100.0, looks, None, Reading(120.0, None, 0.0), (), len(looks), ())
    observed = SimpleNamespace(
        began=began, ended=120.0, started_unix_ns=0, task_name=None, entry=entry, ongoing=False
    )
    return explainer.explain(observed, MONITOR, evidence, (None, None))


@pytest.mark.parametrize(
    ("modules", "entry", "phase"),
    [
        ([("app", "importlib"), ("uvicorn.server", "app")], None, "startup"),  # of the deeper stack it is cut
        ([("app",)], None, None),
        ([], "uvicorn.server", "startup"),  # the task tells where nobody looked
        ([], "asyncio.locks", None),
    ],
)
def test_any_look_and_the_task_tell_of_a_start_up(modules, entry, phase):
    table = AdviceTable()
    explainer = Explainer(Stacks(OwnCode(), table.lookup), table, 0.01)
    looks = tuple(look(105.0 + at, *names) for at, names in enumerate(modules))

    assert block_of(explainer, looks, 100.0, entry).phase == phase


def test_what_was_read_while_a_block_lasted_is_not_read_again_and_serves_no_other_stretch(monkeypatch):
    table = AdviceTable()
    explainer = Explainer(Stacks(OwnCode(), table.lookup), table, 0.01)
    watch = Watch(100.0, None, 32)
    watch.add(look(105.0, "app"))
    explainer.prepare(watch)
    found = []
    monkeypatch.setattr("otel_loopblock.explain.explainer.find", lambda *_: found.append(1) or find(*_))

    assert block_of(explainer, watch.looks, 104.0).samples == 1
    assert found == []
    assert block_of(explainer, watch.looks, 106.0).samples == 0
    watch.add(look(107.0, "other"))
    assert block_of(explainer, watch.looks, 104.0).samples == 2
    assert len(found) == 2


def outer():
    """What was seen to run."""
