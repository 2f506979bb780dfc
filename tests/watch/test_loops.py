"""The table of monitored loops, and what the listeners want of them."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace

import pytest

from otel_loopblock import core, guard
from otel_loopblock.watch import loops as module
from otel_loopblock.watch.demand import Demand
from otel_loopblock.watch.loops import Loops


class Looping(asyncio.AbstractEventLoop):
    """A loop of no known kind."""

    def is_closed(self):
        return False


@pytest.fixture
def table(monkeypatch):
    """A table of its own, while somebody listens."""
    monkeypatch.setattr(module.demand, "is_any", True)
    return Loops()


def test_loop_has_one_monitor_until_it_dies(table):
    loop = Looping()
    monitor = table.attach(loop, "kind")

    assert table.attach(loop, "kind") is monitor is table.of(loop)
    assert monitor.get_loop() is loop
    assert table.monitors() == [monitor]
    del loop
    gc.collect()
    assert monitor.get_loop() is None
    assert table.table == {}


def test_loops_that_died_are_not_kept(table):
    kept = Looping()
    table.attach(kept, "kept")
    for _ in range(1000):
        table.attach(Looping(), "short")
    gc.collect()

    assert [monitor.get_loop() for monitor in table.monitors()] == [kept]
    assert len(table.table) == 1


def test_loop_that_is_closed_is_not_listed(table):
    loop = asyncio.new_event_loop()
    table.attach(loop, "asyncio")
    loop.close()

    assert table.monitors() == []


def test_what_is_no_loop_or_cannot_be_referred_to_is_not_monitored(table):
    class Slotted(asyncio.AbstractEventLoop):
        __slots__ = ()

    guard.failures.clear()

    assert table.attach(object(), "kind") is None
    assert table.of(object()) is None
    if getattr(Slotted, "__weakrefoffset__", 0) == 0:
        assert table.attach(Slotted(), "kind") is None
        assert guard.failures["attach to a loop"] == 1
    guard.failures.clear()


def test_without_a_listener_there_are_no_monitors(table, monkeypatch):
    monkeypatch.setattr(module.demand, "is_any", False)

    assert table.attach(Looping(), "kind") is None


def test_monitor_of_another_loop_with_the_same_id_is_not_taken(table):
    one, other = Looping(), Looping()
    table.table[id(other)] = table.attach(one, "kind")

    assert table.of(other) is None


def test_detached_monitor_knows_its_loop_no_more(table):
    loop = Looping()
    monitor = table.attach(loop, "kind")
    table.detach_all()

    assert table.of(loop) is None
    assert monitor.get_loop() is None


def test_every_monitor_gets_the_new_sleep(table):
    loop, later = Looping(), Looping()
    monitor = table.attach(loop, "kind")
    waiter = table.new_waiter()

    assert type(waiter) is core.Waiter
    assert monitor.waiter is waiter is table.attach(later, "kind").waiter


def wants(
    threshold_s=0.01, heartbeat_interval_s=0.0, watchdog=True, max_samples=2, saturation_s=0.0, samples=False
):
    return SimpleNamespace(
        threshold_s=threshold_s,
        heartbeat_interval_s=heartbeat_interval_s,
        watchdog=watchdog,
        max_samples=max_samples,
        saturation_s=saturation_s,
        samples=samples,
    )


def test_lowest_threshold_and_shortest_interval_are_what_all_want():
    demand = Demand()
    demand.take([wants(0.02, 0.0, False, 4), wants(0.1, 0.5, True, 2), wants(0.1, 0.3, False, 2)])

    assert (demand.is_any, demand.watching) == (True, True)
    assert (demand.threshold_s, demand.tick_s) == (0.02, 0.005)
    assert (demand.heartbeat_interval_s, demand.max_samples) == (0.3, 4)


def test_without_listeners_nothing_but_that_changes():
    demand = Demand()
    demand.take([wants(0.02)])
    demand.take([])

    assert (demand.is_any, demand.threshold_s) == (False, 0.02)
