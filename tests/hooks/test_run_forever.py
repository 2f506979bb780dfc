"""Loops that run for a moment are left alone; whatever runs for long is looked at, seen to begin or not."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref

import pytest

from otel_loopblock.runtime import registry
from otel_loopblock.testing import detect_blocking
from otel_loopblock.watch import alarm
from otel_loopblock.watch.evidence import Delay
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.runs import Runs
from tests.conftest import LOOPS

BLOCK_S = 0.06
TRIES = 3
"""A machine that stands still for a moment may spoil the evidence of a block, not of each."""


async def moment():
    await asyncio.sleep(0)


async def block():
    time.sleep(BLOCK_S)


def compute(seconds):
    ended = time.thread_time() + seconds
    while time.thread_time() < ended:
        pass


async def block_computing():
    compute(BLOCK_S)


def _until(is_so, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert is_so()


def _calls(telemetry):
    return [span.attributes.get("event_loop.block.call") for span in telemetry.spans()]


@pytest.fixture
def looks(monkeypatch):
    """Counts the watchdog's looks."""
    counted = []
    look = registry.watchdog._look
    monkeypatch.setattr(registry.watchdog, "_look", lambda *args: counted.append(1) or look(*args))
    return counted


@pytest.fixture
def loop(loop_kind):
    loop = LOOPS[loop_kind]()
    yield loop
    loop.close()


def _run_for_moments(loop, seconds):
    ended = time.perf_counter() + seconds
    while time.perf_counter() < ended:
        loop.run_until_complete(moment())


def test_watchdog_sleeps_while_a_loop_runs_for_moments_only(telemetry, loop, looks):
    telemetry.instrument()

    _run_for_moments(loop, 1.0)

    assert len(looks) < 100  # of 400 ticks; a machine that stands still now and then is to be expected


def test_watchdog_sleeps_while_no_loop_runs(telemetry, loop, looks):
    telemetry.instrument()
    loop.run_until_complete(asyncio.sleep(0.05))
    assert len(looks) > 2
    time.sleep(0.05)
    looks.clear()
    time.sleep(0.5)

    assert len(looks) < 50  # of 200 ticks


@pytest.mark.parametrize(("blocking", "cause"), [(block, "wait"), (block_computing, "cpu")])
def test_block_after_many_short_runs_is_named_and_its_cause_told(telemetry, loop, blocking, cause):
    telemetry.instrument()
    loop.run_until_complete(moment())
    function = f"{__name__}.{'block' if cause == 'wait' else 'compute'}"
    told = []
    for _ in range(TRIES):
        telemetry.exporter.clear()
        compute(0.3)  # what the thread did before the loop ran again is no part of the block
        _run_for_moments(loop, 0.1)
        loop.run_until_complete(blocking())
        blocks = [span.attributes for span in telemetry.spans()]
        (block,) = [each for each in blocks if each["code.function.name"] == function]
        if block["event_loop.block.cause"] == cause:
            return
        told.append(block)

    if all(each.get("event_loop.block.run_queue_delay", 0.0) > 0.2 * BLOCK_S for each in told):
        pytest.skip("other processes had the CPU in every try")
    raise AssertionError(told)


def test_clocks_are_read_when_a_loop_runs_again(telemetry, loop):
    telemetry.instrument()
    loop.run_until_complete(moment())
    monitor = loop._loopblock_monitor
    compute(0.05)
    time.sleep(0.1)
    before = time.perf_counter()

    async def reading():
        return monitor.reading, monitor.baseline

    found, baseline = loop.run_until_complete(reading())

    assert found.at >= before
    assert baseline.at >= before


def test_what_the_thread_did_before_the_loop_ran_again_is_not_taken_for_idle(telemetry, loop):
    telemetry.instrument(threshold_ms=20_000)  # so the clocks need not be read again
    loop.run_until_complete(moment())
    monitor = loop._loopblock_monitor
    monitor.reading, monitor.stale_from = None, 0.0

    async def before():
        return monitor.evidence(time.perf_counter()).before

    of_this_run = loop.run_until_complete(before())
    of_the_last = loop.run_until_complete(before())

    assert of_this_run.at == of_the_last.at
    assert of_this_run.busy > 0.0
    assert of_the_last.busy == 0.0


def test_loop_that_runs_in_another_thread_now_is_looked_at_there(telemetry, loop):
    telemetry.instrument()
    loop.run_until_complete(moment())
    thread = threading.Thread(target=lambda: loop.run_until_complete(block()))
    thread.start()
    thread.join()

    (span,) = telemetry.spans()
    assert span.attributes["event_loop.block.call"] == "time.sleep"
    assert span.attributes["thread.id"] == thread.ident


def test_short_runs_in_one_thread_hide_no_block_in_another(telemetry, loop_kind, loop):
    telemetry.instrument()
    done = threading.Event()

    async def long():
        await asyncio.sleep(0.05)
        await block()

    def in_thread():
        other = LOOPS[loop_kind]()
        other.run_until_complete(long())
        other.close()
        done.set()

    thread = threading.Thread(target=in_thread)
    thread.start()
    while not done.is_set():
        loop.run_until_complete(moment())
    thread.join()

    assert "time.sleep" in _calls(telemetry)


def test_loop_that_ran_before_the_hooks_came_is_looked_at(telemetry, loop):
    go = threading.Event()
    began = threading.Event()

    async def main():
        began.set()
        while not go.is_set():
            await asyncio.sleep(0.005)
        await block()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    began.wait(30)
    telemetry.instrument()
    time.sleep(0.05)
    go.set()
    thread.join()

    assert _calls(telemetry) == ["time.sleep"]


def test_loop_in_which_a_listener_comes_is_looked_at_though_another_runs_for_moments(loop_kind, loop):
    go, done = threading.Event(), threading.Event()
    found = []

    async def main():
        registry.watchdog.runs.began.pop(id(loop))  # as if it ran since before the hooks came
        with detect_blocking(raise_on_block=False) as detected:
            go.set()
            await block()
        found.extend(detected.blocks)
        done.set()

    other = LOOPS[loop_kind]()
    with detect_blocking(raise_on_block=False):
        other.run_until_complete(moment())
        _until(lambda: registry.watchdog.runs._waiting)
        thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
        thread.start()
        go.wait(30)
        while not done.is_set():
            other.run_until_complete(moment())
        thread.join()
    other.close()

    assert [each.call for each in found] == ["time.sleep"]


class RunsByItself(asyncio.SelectorEventLoop):
    """As nest_asyncio makes a loop: it runs without ``run_forever``."""

    def run_forever(self):
        self.run_until_complete(self.create_future())

    def run_until_complete(self, future):
        future = asyncio.ensure_future(future, loop=self)
        self._thread_id = threading.get_ident()
        asyncio._set_running_loop(self)
        try:
            while not future.done():
                self._run_once()
        finally:
            self._thread_id = None
            asyncio._set_running_loop(None)
        return future.result()


@pytest.mark.parametrize("pause_s", [0.0, 0.1, 1.2])
def test_loop_that_runs_without_run_forever_is_looked_at_each_time(telemetry, pause_s):
    telemetry.instrument()
    loop = RunsByItself()
    loop.run_until_complete(moment())
    time.sleep(pause_s)
    loop.run_until_complete(block())
    loop.close()

    assert _calls(telemetry) == ["time.sleep"]


def test_loop_with_a_run_forever_that_calls_the_original_is_looked_at(telemetry):
    class Derived(asyncio.SelectorEventLoop):
        def run_forever(self):
            super().run_forever()

    telemetry.instrument()
    loop = Derived()
    loop.run_until_complete(moment())
    time.sleep(0.1)
    loop.run_until_complete(block())
    loop.close()

    assert _calls(telemetry) == ["time.sleep"]


def test_without_an_alarm_the_watchdog_ticks(telemetry, run, monkeypatch, looks):
    monkeypatch.setattr(alarm, "_library", lambda: None)
    telemetry.instrument()

    async def main():
        await asyncio.sleep(0.1)
        await block()

    run(main())

    assert len(looks) > 5
    assert _calls(telemetry) == ["time.sleep"]


def test_block_at_whose_end_the_watchdog_has_not_come_knows_how_often_it_woke_up_before(
    telemetry, loop, monkeypatch
):
    told = []

    def explain_missing(due, now, loop_queued_s, before):
        told.append(before)
        return Delay(due, now, 0.0, 0.0, 0.0)

    async def late_evidence():
        loop._loopblock_monitor.evidence(time.perf_counter() + 1.0)  # as if all of it were late by a second

    telemetry.instrument(threshold_ms=10)
    monkeypatch.setattr(registry.watchdog.lateness, "explain_missing", explain_missing)
    for _ in range(5):  # one wait may have ended just now
        loop.run_until_complete(moment())
        time.sleep(0.03)
        loop.run_until_complete(late_evidence())

    assert max(told) >= 5


@pytest.fixture
def waiting(telemetry, loop, monkeypatch):
    """The watchdog waits, and nothing is set that would wake it soon."""
    monkeypatch.setattr("otel_loopblock.watch.runs.LONGEST_WAIT_S", 1000.0)
    telemetry.instrument()
    loop.run_until_complete(moment())
    time.sleep(0.2)
    _until(lambda: registry.watchdog.runs._waiting)
    return registry.watchdog


def test_watchdog_that_waits_can_be_stopped(waiting):
    thread = waiting._life.thread
    waiting.stop(30)

    assert not thread.is_alive()


def test_watchdog_that_waits_keeps_no_monitor(waiting):
    other = asyncio.new_event_loop()
    other.run_until_complete(asyncio.sleep(0.1))
    time.sleep(0.2)
    monitor = weakref.ref(other._loopblock_monitor)
    registry.thread().monitor = None  # kept for the next loop of this thread
    other.close()
    del other

    def is_gone():
        gc.collect()
        return monitor() is None

    _until(is_gone)


def test_new_loop_is_looked_at_at_once_beside_one_that_is_not_seen_to_begin(telemetry, loop_kind):
    telemetry.instrument(threshold_ms=40)
    done = threading.Event()

    async def main():
        while not done.is_set():
            await asyncio.sleep(0.005)

    unseen = RunsByItself()
    thread = threading.Thread(target=lambda: unseen.run_until_complete(main()))
    thread.start()
    for _ in range(4):
        time.sleep(0.1)
        loop = LOOPS[loop_kind]()
        loop.run_until_complete(block())
        loop.close()
    done.set()
    thread.join()
    unseen.close()

    assert _calls(telemetry) == ["time.sleep"] * 4


def test_threshold_that_is_lowered_while_the_watchdog_waits_holds_at_once(telemetry, loop, monkeypatch):
    monkeypatch.setattr("otel_loopblock.watch.runs.LONGEST_WAIT_S", 1000.0)
    telemetry.instrument(threshold_ms=100_000)
    loop.run_until_complete(moment())  # in 50 s it would be looked at
    _until(lambda: registry.watchdog.runs._waiting)
    with detect_blocking(20, raise_on_block=False) as detected:
        loop.run_until_complete(block())

    assert [found.call for found in detected.blocks] == ["time.sleep"]


def test_nothing_is_left_open(telemetry, loop):
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    with detect_blocking():
        loop.run_until_complete(moment())

    if before:
        assert set(os.listdir("/proc/self/fd")) == before
    assert registry.watchdog.runs._alarm is None
    assert loop not in registry.watchdog.runs


def test_fork_in_the_middle_of_a_run_forgets_the_runs_of_other_threads():
    runs = Runs()
    loop = asyncio.new_event_loop()
    began = runs.began
    began[id(loop)] = 1000.0
    runs.forget()

    assert loop not in runs
    assert runs.began is began  # the hook goes on to write it in the child
    loop.close()


# -- loops that come and go ----------------------------------------------------------------------------------


def _monitor_of(loop):
    loop.run_until_complete(moment())
    return loop._loopblock_monitor


@pytest.fixture
def new_loop(loop_kind):
    return LOOPS[loop_kind]


@pytest.fixture
def detected():
    with detect_blocking(raise_on_block=False) as detected:
        yield detected


def test_next_loop_of_a_thread_is_served_by_the_monitor_of_the_one_before(detected, new_loop):
    first, second = new_loop(), new_loop()
    monitor = _monitor_of(first)
    first.close()
    assert registry.monitors() == []  # as the watchdog asks between them

    assert _monitor_of(second) is monitor
    assert monitor.loop() is second
    assert registry.monitors() == [monitor]
    assert not [name for name in vars(first) if "loopblock" in name]
    second.run_until_complete(block())
    second.close()

    (found,) = detected.blocks
    assert (found.call, found.culprit.function) == ("time.sleep", f"{__name__}.block")
    assert (found.cause, found.samples > 0) == ("wait", True)


def test_watchdog_that_rests_wakes_up_for_the_next_loop(monkeypatch, new_loop):
    monkeypatch.setattr("otel_loopblock.watch.watchdog.REST_AFTER_S", 0.0)
    monkeypatch.setattr(alarm, "_library", lambda: None)
    with detect_blocking(raise_on_block=False) as detected:
        first, second = new_loop(), new_loop()
        monitor = _monitor_of(first)
        first.close()
        _until(lambda: registry.watchdog._resting and not registry.monitors())

        second.run_until_complete(block())

        assert second._loopblock_monitor is monitor
        second.close()
    (found,) = detected.blocks
    assert (found.call, found.samples > 0) == ("time.sleep", True)


def test_loop_beside_one_that_is_open_has_a_monitor_of_its_own(detected, new_loop):
    first, second = new_loop(), new_loop()

    assert _monitor_of(second) is not _monitor_of(first)
    assert len(registry.monitors()) == 2
    first.close()
    second.close()


def test_loops_of_other_threads_and_types_have_monitors_of_their_own(detected, new_loop):
    found = []

    def run_one(make):
        loop = make()
        found.append(_monitor_of(loop))
        loop.close()

    run_one(new_loop)
    thread = threading.Thread(target=run_one, args=(new_loop,))
    thread.start()
    thread.join()
    run_one(type("Own", (asyncio.SelectorEventLoop,), {"__module__": __name__}))

    assert len({id(monitor) for monitor in found}) == 3
    assert found[2].loop_type == f"{__name__}.Own"


def test_monitor_that_somebody_keeps_something_for_serves_no_other_loop(detected, new_loop):
    for attribute, value in (("state", {"listener": 1}), ("following", (object(),)), ("beating", True)):
        first, second = new_loop(), new_loop()
        monitor = _monitor_of(first)
        setattr(monitor, attribute, value)
        first.close()
        assert _monitor_of(second) is not monitor
        second.close()


def test_where_lag_is_measured_each_loop_has_a_monitor_of_its_own(telemetry, new_loop):
    telemetry.instrument(heartbeat_interval_ms=20)
    first, second = new_loop(), new_loop()
    monitor = _monitor_of(first)
    first.close()

    assert _monitor_of(second) is not monitor
    assert second._loopblock_monitor.beating
    assert registry.thread().monitor is None
    second.close()


def test_monitors_are_not_kept_once_nobody_listens(new_loop):
    loop = new_loop()
    with detect_blocking():
        monitor = weakref.ref(_monitor_of(loop))
    loop.close()
    gc.collect()

    assert monitor() is None


def test_run_that_began_a_moment_after_another_reads_no_clocks(detected, monkeypatch, new_loop):
    loop = new_loop()
    monitor = _monitor_of(loop)
    monitor.stale_from = time.perf_counter() + 1000
    reading = monitor.reading
    monkeypatch.setattr(Monitor, "begin_run", lambda self, now: pytest.fail("called"))
    loop.run_until_complete(moment())
    monitor.stale_from = 0.0
    monkeypatch.undo()
    monitor.reading = reading._replace(at=0.0)
    loop.run_until_complete(moment())

    assert monitor.reading.at > reading.at
    assert monitor.stale_from > monitor.reading.at
    loop.close()


@pytest.mark.parametrize("first_is", ["call_later", "add_reader", "call_soon_threadsafe"])
def test_first_callback_of_the_next_loop_may_be_a_timer_or_a_reader(detected, loop_kind, new_loop, first_is):
    monitor = _monitor_of(first := new_loop())
    first.close()
    loop = new_loop()
    reading, writing = os.pipe()
    os.write(writing, b"there")

    def callback():
        time.sleep(BLOCK_S)
        loop.remove_reader(reading)
        loop.stop()

    arguments = {"call_later": (0.001,), "add_reader": (reading,)}.get(first_is, ())
    getattr(loop, first_is)(*arguments, callback)
    loop.run_forever()

    assert loop._loopblock_monitor is monitor
    assert [found.call for found in detected.blocks] == ["time.sleep"]
    assert monitor.turns == (1 if (loop_kind, first_is) == ("uvloop", "call_soon_threadsafe") else 2)
    loop.close()
    os.close(reading)
    os.close(writing)


def test_next_loop_may_run_in_another_thread_than_what_was_scheduled_on_it(detected, new_loop):
    _monitor_of(first := new_loop())
    first.close()
    loop, last = new_loop(), new_loop()
    loop.call_soon(lambda: (time.sleep(BLOCK_S), loop.stop()))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    thread.join(30)

    assert loop._loopblock_monitor.thread_id == thread.ident
    loop.close()
    assert _monitor_of(last).thread_id == threading.get_ident()
    last.close()
    (found,) = detected.blocks
    assert (found.call, found.thread_id, found.samples > 0) == ("time.sleep", thread.ident, True)


def test_running_loop_on_which_another_thread_schedules_first_is_not_taken_for_its_own(new_loop):
    loop, go = new_loop(), threading.Event()

    async def main():
        go.set()
        while not stop.is_set():
            await asyncio.sleep(0.005)

    stop = threading.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    go.wait(30)
    with detect_blocking(raise_on_block=False) as detected:
        _monitor_of(first := new_loop())
        first.close()
        done = threading.Event()
        loop.call_soon_threadsafe(lambda: (time.sleep(BLOCK_S), done.set()))
        done.wait(30)
        assert loop._loopblock_monitor.thread_id == thread.ident
        stop.set()
        thread.join(30)
    loop.close()
    assert [(found.call, found.thread_id) for found in detected.blocks] == [("time.sleep", thread.ident)]
