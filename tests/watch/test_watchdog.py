"""The watchdog's thread: its life, its rests, its clocks."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from otel_loopblock.runtime import Registry, registry
from otel_loopblock.watch import cgroup
from otel_loopblock.watch.evidence import Reading, Scheduling
from otel_loopblock.watch.monitor import LoopThread, Monitor
from otel_loopblock.watch.runs import WakeUp
from otel_loopblock.watch.watchdog import Watchdog


def test_watchdog_that_rests_looks_at_a_loop_that_comes(monkeypatch):
    monkeypatch.setattr("otel_loopblock.watch.watchdog.REST_AFTER_S", 0.0)
    looked = threading.Event()
    monitors = []

    class Listed:
        listeners = ()
        max_samples = 2

        @staticmethod
        def monitors():
            return monitors

        @staticmethod
        def unseen():
            return True

    class Looked:
        running = True
        poll = None
        clock = None
        started = 0.0
        native_id = 0
        busy = 0.0
        baseline = None

        def __setattr__(self, name, value):
            if name == "reading":
                looked.set()

    watchdog = Watchdog(Listed())
    watchdog.start()
    try:
        for _ in range(1000):
            if watchdog._resting:
                break
            time.sleep(0.01)
        assert watchdog._resting  # for a minute, with nothing to look at
        monitors.append(Looked())
        watchdog.start()
        assert looked.wait(30)
    finally:
        watchdog.stop()


@pytest.mark.parametrize("changed", [True, False])
def test_loop_that_came_is_looked_for_though_another_keeps_the_watchdog_from_waiting(changed):
    class Unseen:
        @staticmethod
        def unseen():
            return True

    watchdog = Watchdog(Unseen())
    watchdog.runs.open()
    watchdog._changed = changed

    assert not watchdog._can_be_told(time.perf_counter())
    assert watchdog._changed is changed
    watchdog.runs.close()


def test_watchdog_that_rests_can_be_stopped():
    watchdog = Watchdog(registry)
    watchdog.start()
    thread = watchdog._life.thread
    time.sleep(0.05)
    watchdog.stop(timeout_s=30)

    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("age_s", "computed_s", "reads"),
    [(0.001, 0.001, 1), (0.015, 0.0, 1), (3600.0, 0.0, 2), (3600.0, 3599.999, 1), (3600.0, None, 2)],
)
def test_loops_made_one_after_the_other_in_a_thread_share_a_baseline(monkeypatch, age_s, computed_s, reads):
    asked = []
    monkeypatch.setattr(cgroup, "scheduling", lambda native_id: asked.append(native_id) or Scheduling(0.5, 7))
    fresh, thread, loops = Registry(), LoopThread(), [asyncio.new_event_loop() for _ in range(2)]
    one, other = (Monitor(loop, "asyncio", fresh) for loop in loops)
    if computed_s is None:
        thread.clock = None

    monkeypatch.setattr(time, "thread_time", lambda: 4.0)
    one._read_clocks(thread, 10.0)
    monkeypatch.setattr(time, "thread_time", lambda: 4.0 + computed_s)
    other._read_clocks(thread, 10.0 + age_s)
    for loop in loops:
        loop.close()

    assert len(asked) == reads
    assert one.baseline.scheduling == other.baseline.scheduling == Scheduling(0.5, 7)
    assert (one.baseline.at, other.baseline.at) == (10.0, 10.0 if reads == 1 else 10.0 + age_s)


def test_threads_share_no_baseline(monkeypatch):
    asked = []
    monkeypatch.setattr(cgroup, "scheduling", lambda native_id: asked.append(native_id))
    fresh = Registry()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(fresh.thread).result()
    for thread in (fresh.thread(), other, fresh.thread()):
        fresh.baseline(thread, Reading(10.0, 4.0, 0.0))

    assert asked == [threading.get_native_id(), other.native_id]


def test_dead_monitors_are_not_listed_for_long():
    class Looping(asyncio.AbstractEventLoop):
        def is_closed(self):
            return False

    fresh = Registry()
    fresh.listeners = (object(),)
    fresh.watching = False
    kept = Looping()
    fresh.attach(kept, "kept")
    for _ in range(1000):
        fresh.attach(Looping(), "short")

    assert len(fresh._monitors) < 100
    assert [monitor.loop() for monitor in fresh.monitors()] == [kept]


def test_wake_ups_within_a_wait_are_told_and_after_one_without_a_look_there_is_a_new_baseline(monkeypatch):
    watchdog = Watchdog(SimpleNamespace(unseen=bool, monitors=list))
    over = threading.Event()
    waits = iter([WakeUp(1.0, 1.0, 64, False), WakeUp(2.0, 2.5, 9, True)])
    told = []

    def wait(is_wanted):
        woken = next(waits, None)
        if woken is None:
            over.set()
        return woken or WakeUp(3.0, 3.0, 1, False)

    monkeypatch.setattr(watchdog.runs, "can_wait", lambda now: True)
    monkeypatch.setattr(watchdog.runs, "wait", wait)
    for name in ("begin_thread", "begin", "woke_up_before", "woke_up"):
        monkeypatch.setattr(watchdog.lateness, name, lambda *given, name=name: told.append((name, *given)))
    watchdog._watch(over)

    assert told[0][0] == "begin_thread"
    assert told[1:5] == [("begin", 1.0), ("woke_up_before", 8), ("woke_up", 2.0, 2.5), ("begin", 2.5)]


def test_counters_of_the_thread_before_are_not_those_of_the_next_one(monkeypatch):
    monkeypatch.setattr(cgroup, "scheduling", lambda thread: Scheduling(0.0, thread))
    watchdog = Watchdog(registry)
    watchdog.lateness.begin(1.0)  # this thread's
    watchdog.start()
    thread = watchdog._life.thread.native_id
    deadline = time.monotonic() + 30
    while watchdog.lateness._thread != thread and time.monotonic() < deadline:
        time.sleep(0.005)
    watchdog.stop(30)

    assert watchdog.lateness._thread == thread
    assert watchdog.lateness._before == Scheduling(0.0, thread)
