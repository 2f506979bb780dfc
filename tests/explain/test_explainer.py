"""How a record is made: by what was seen within the stretch, and by the target where nothing was."""

from __future__ import annotations

import queue
from types import SimpleNamespace

import pytest

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.block import Observed
from otel_loopblock.explain.explainer import Explainer
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import Stacks, find
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.evidence import Delay, Evidence, Look, Reading, Scheduling, Watch
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
        asked_since=0.0,
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


BEFORE, END = Reading(100.0, 0.0, 0.0), Reading(120.0, 0.0, 0.0)
MONITOR = SimpleNamespace(
    loop_type="asyncio",
    thread_id=1,
    thread_name="MainThread",
    listening_since=0.0,
    asked_since=0.0,
    collections=(),
)


def look(at, *modules, cpu=None, call=None):
    frames = tuple((outer.__code__, 0, outer.__code__.co_firstlineno, module) for module in modules)
    return Look(at, at, cpu, cpu or 0.0, frames, call, ())


def block_of(explainer, looks, began, entry=None, end=END, settled=None):
    evidence = Evidence(100.0, looks, BEFORE, end, (), len(looks), ())
    observed = SimpleNamespace(
        began=began,
        ended=end.at,
        started_unix_ns=0,
        task_name=None,
        entry=entry,
        ongoing=False,
        awaiters=(),
        settled=settled,
    )
    return explainer.explain(observed, MONITOR, evidence, (None, None))


@pytest.fixture
def explainer(monkeypatch):
    monkeypatch.setattr(demand, "tick_s", 2.5)
    table = AdviceTable()
    return Explainer(Stacks(OwnCode(), table.lookup), table, 0.01)


def watched(explainer, cpu_share):
    watch = Watch(100.0, BEFORE, 32)
    for at in (105.0, 110.0, 115.0):
        watch.add(look(at, __name__, cpu=cpu_share * (at - 100.0), call="time.sleep"))
    explainer.prepare(MONITOR, watch)
    return watch


def settled(explainer, watch, began, ended):
    return explainer.settled(Evidence(100.0, watch.looks, BEFORE, END, (), 3, ()), began, ended)


def test_what_waits_is_settled_while_it_lasts(explainer):
    watch = watched(explainer, cpu_share=0.0)

    gist = settled(explainer, watch, 100.0, 120.0)

    assert (gist.cause, gist.call, gist.culprit.function) == ("wait", "time.sleep", f"{__name__}.outer")
    assert gist.advice == block_of(explainer, watch.looks, 100.0).advice is not None


@pytest.mark.parametrize(("began", "ended"), [(100.0, 126.0), (108.0, 120.0), (100.0, 112.0)])
def test_stretch_that_was_not_seen_for_the_most_part_or_is_another_one_is_not_settled(
    explainer, began, ended
):
    assert settled(explainer, watched(explainer, cpu_share=0.0), began, ended) is None


def test_what_was_looked_at_since_is_not_settled(explainer):
    watch = watched(explainer, cpu_share=0.0)
    watch.add(look(118.0, __name__, cpu=0.0))

    assert settled(explainer, watch, 100.0, 120.0) is None


@pytest.mark.parametrize("cpu_share", [0.3, 1.0])
def test_what_computes_is_not_settled(explainer, cpu_share):
    assert settled(explainer, watched(explainer, cpu_share), 100.0, 120.0) is None


def test_record_says_what_was_settled(explainer):
    watch = watched(explainer, cpu_share=0.0)
    gist = settled(explainer, watch, 100.0, 120.0)
    end = Reading(145.0, 30.0, 30.0)

    assert block_of(explainer, watch.looks, 100.0, end=end).cause != "wait"
    assert block_of(explainer, watch.looks, 100.0, end=end, settled=gist).cause == "wait"


@pytest.mark.parametrize(
    ("modules", "entry", "phase"),
    [
        ([("app", "importlib"), ("uvicorn.server", "app")], None, "startup"),  # of the deeper stack it is cut
        ([("app",)], None, None),
        ([], "uvicorn.server", "startup"),  # the task tells where nobody looked
        ([], "asyncio.locks", None),
    ],
)
def test_any_look_and_the_task_tell_of_a_start_up(explainer, modules, entry, phase):
    looks = tuple(look(105.0 + at, *names) for at, names in enumerate(modules))

    assert block_of(explainer, looks, 100.0, entry).phase == phase


def test_what_was_read_while_a_block_lasted_is_not_read_again_and_serves_no_other_stretch(
    explainer, monkeypatch
):
    watch = Watch(100.0, None, 32)
    watch.add(look(105.0, "app"))
    explainer.prepare(MONITOR, watch)
    found = []
    monkeypatch.setattr("otel_loopblock.explain.explainer.find", lambda *_: found.append(1) or find(*_))

    assert block_of(explainer, watch.looks, 104.0).samples == 1
    assert found == []
    assert block_of(explainer, watch.looks, 106.0).samples == 0
    watch.add(look(107.0, "other"))
    assert block_of(explainer, watch.looks, 104.0).samples == 2
    assert len(found) == 2


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
    monitor = SimpleNamespace(
        loop_type="asyncio", thread_id=1, thread_name="Main", listening_since=0.0, asked_since=0.0
    )
    table = AdviceTable()
    explainer = Explainer(Stacks(OwnCode(), table.lookup), table, 0.01)

    block = Observed(monitor, evidence, 100.0, 100.06, Target(None, None), explainer.explain).block

    assert block.call == f"queue.Queue.{method}"
    assert block.cause == cause


def outer():
    """What was seen to run."""
