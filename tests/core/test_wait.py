"""The wait: three times, no tick while nothing runs, woken by the first callback."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from otel_loopblock.core import pure
from tests.conftest import LOOPS
from tests.service.running import ROOT

TICK_S = 0.0025


@pytest.fixture
def looking(timing, core):
    """Waits in a thread; what the waits returned is in the list, with the monitor's clocks."""
    returned = []
    over = threading.Event()

    def watch():
        while not over.is_set():
            monitors = tuple(timing.monitors.values())
            why, due, woke, got = timing.waiter.wait(monitors, TICK_S)
            if why == core.LONG_CALLBACK:
                for monitor in monitors:
                    # Another one may have begun since it woke up for one that was long.
                    if monitor.started != 0.0 and monitor.started <= woke:
                        cpu = monitor.woke_cpu - monitor.before_cpu
                        returned.append((monitor.started, due, woke, got, cpu))
                        monitor.looked_at, monitor.look_due = monitor.started, woke + 0.02

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield returned
    over.set()
    timing.waiter.wake()
    thread.join(10)
    assert not thread.is_alive()


def test_long_callback_is_looked_at_and_others_are_not(timing, looking, loop_kind):
    loop = LOOPS[loop_kind]()
    timing.attach(loop)
    timing.waiter.wake()  # there is another monitor

    async def main():
        for _ in range(200):
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)  # the waiter sleeps without a tick meanwhile
        time.sleep(0.1)

    loop.run_until_complete(main())
    loop.close()
    starts = {started for started, *_ in looking}
    assert 1 <= len(starts) <= 20  # of 200; others were long only where the machine stood still
    long = [each for each in looking if each[0] == max(starts)]
    assert len(long) >= 2  # again, when it is due
    for started, due, woke, got, cpu in long:
        assert started + TICK_S * 0.9 <= due <= woke <= got < started + 1.0
        assert cpu < 0.05


def test_gil_that_is_kept_is_told_from_a_thread_that_sleeps(timing, looking, core):
    loop = asyncio.new_event_loop()
    timing.attach(loop)
    timing.waiter.wake()
    numbers = range(20_000_000)

    async def main():
        await asyncio.sleep(0.02)
        sum(numbers)  # C code that keeps the GIL

    loop.run_until_complete(main())
    loop.close()
    late = max(got - due for _, due, _, got, _ in looking)
    kept = max(got - woke for _, _, woke, got, _ in looking)
    assert late > 0.05
    assert kept > 0.05 if core.TELLS_LATENESS else kept == 0.0


def test_waiter_uses_no_cpu_while_nothing_runs(timing, core):
    done = threading.Event()
    spent = []

    def watch():
        before = time.thread_time(), time.perf_counter()
        timing.waiter.wait((), TICK_S)
        spent.append((time.thread_time() - before[0], time.perf_counter() - before[1]))
        done.set()

    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(0.4)
    timing.waiter.wake()
    assert done.wait(10)
    thread.join()
    [(cpu, lasted)] = spent
    assert lasted >= 0.3
    assert cpu < 0.05


@pytest.fixture
def waiting(core):
    """Starts a wait for these monitors in a thread; what it returned is in the list once that has ended."""
    waiter, threads = core.Waiter(), []

    def start(*monitors, **options):
        returned = []
        thread = threading.Thread(
            target=lambda: returned.append(waiter.wait(monitors, TICK_S, **options)), daemon=True
        )
        thread.start()
        threads.append(thread)
        return thread, returned

    start.waiter = waiter
    yield start
    for thread in threads:
        waiter.wake()
        thread.join(10)
        assert not thread.is_alive()


def test_waiter_stays_asleep_while_nothing_runs(core, waiting):
    waiting(core.Monitor())
    until = time.perf_counter() + 10
    while not waiting.waiter.asleep and time.perf_counter() < until:
        time.sleep(TICK_S)
    seen = []
    for _ in range(100):
        time.sleep(TICK_S / 2)
        seen.append((bool(waiting.waiter.asleep), waiting.waiter.due, waiting.waiter.woke))
    assert set(seen) == {(True, 0.0, 0.0)}


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_wait_ends_when_its_time_is_up(core, waiting, state):
    monitor = core.Monitor()
    monitor.started = 0.0 if state == "idle" else time.perf_counter() + 1000
    before = time.perf_counter()
    thread, returned = waiting(monitor, limit_s=0.05)
    thread.join(10)
    [(why, due, woke, got)] = returned
    assert why == core.WOKEN
    assert before + 0.045 <= due <= woke <= got
    if state == "idle":
        assert waiting.waiter.asleep == 0


def test_refresh_ends_the_wait_with_its_next_tick(core, waiting):
    monitor = core.Monitor()
    monitor.started = time.perf_counter() + 1000
    thread, returned = waiting(monitor)
    time.sleep(5 * TICK_S)
    assert returned == []
    assert waiting.waiter.due > 0.0
    waiting.waiter.refresh()
    thread.join(10)
    assert [why for why, *_ in returned] == [core.WOKEN]


def test_two_threads_cannot_wait_at_once(waiting):
    waiting()
    time.sleep(5 * TICK_S)
    with pytest.raises(RuntimeError, match="another thread waits already"):
        waiting.waiter.wait((), TICK_S)


def test_wake_before_a_wait_ends_it_at_once(core, waiting):
    waiting.waiter.wake()
    waiting.waiter.wake()
    why, due, woke, got = waiting.waiter.wait((), TICK_S)
    assert (why, due) == (core.WOKEN, woke)
    assert woke <= got


def test_waiter_tells_how_long_it_had_no_cpu_or_that_it_does_not_know(core, waiting):
    thread, _ = waiting(limit_s=0.01)
    thread.join(10)
    queued_s = waiting.waiter.queued()
    assert queued_s is None or (core.TELLS_LATENESS and queued_s >= 0.0)


@pytest.mark.parametrize("arguments", [((), 0.1, 0.0), ((), 0.0), ((), float("nan")), ([], 0.1), ((1,), 0.1)])
def test_wrong_arguments_are_refused(core, arguments):
    with pytest.raises((TypeError, ValueError)):
        core.Waiter().wait(*arguments)


EXITS = """
import importlib.util, sys, threading
if sys.argv[1] == "pure":
    from otel_loopblock.core import pure as core
else:
    spec = importlib.util.spec_from_file_location("otel_loopblock.core._native", sys.argv[1])
    core = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(core)
monitor, waiter = core.Monitor(), core.Waiter()
monitor.waiter = waiter
threading.Thread(target=lambda: waiter.wait((monitor,), 0.0001), daemon=True).start()
monitor.started = 1e18 if len(sys.argv) > 2 else 0.0
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_process_ends_while_the_watchdog_waits(core, state):
    which = "pure" if core is pure else core.__file__
    busy = ["busy"] if state == "busy" else []
    for _ in range(20):
        command = [sys.executable, "-X", "dev", "-c", EXITS, which, *busy]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_child_of_a_process_whose_watchdog_waits_goes_on(timing, core):
    thread = threading.Thread(target=timing.waiter.wait, args=((), TICK_S), daemon=True)
    thread.start()
    time.sleep(0.02)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            timing.waiter = None
            loop = asyncio.new_event_loop()
            loop.run_until_complete(asyncio.sleep(0.01))
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    timing.waiter.wake()
    thread.join(10)
