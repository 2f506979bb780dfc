"""The compiled wait: three times, no tick while nothing runs, woken by the first callback."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from tests.conftest import LOOPS

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
                    if monitor.started != 0.0:
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


def test_gil_that_is_kept_is_told_from_a_thread_that_sleeps(timing, looking):
    loop = asyncio.new_event_loop()
    timing.attach(loop)
    timing.waiter.wake()
    numbers = range(20_000_000)

    async def main():
        await asyncio.sleep(0.02)
        sum(numbers)  # C code that keeps the GIL

    loop.run_until_complete(main())
    loop.close()
    kept = max(got - woke for _, _, woke, got, _ in looking)
    assert kept > 0.05


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


@pytest.mark.parametrize("arguments", [((), 0.0), ((), float("nan")), ([], 0.1), ((1,), 0.1)])
def test_wrong_arguments_are_refused(core, arguments):
    with pytest.raises((TypeError, ValueError)):
        core.Waiter().wait(*arguments)


EXITS = """
import importlib.util, sys, threading
spec = importlib.util.spec_from_file_location("_core", sys.argv[1])
core = importlib.util.module_from_spec(spec)
spec.loader.exec_module(core)
monitor, waiter = core.Monitor(), core.Waiter()
monitor.waiter = waiter
threading.Thread(target=lambda: waiter.wait((monitor,), 0.0001), daemon=True).start()
monitor.started = 1e18 if len(sys.argv) > 2 else 0.0
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_process_ends_while_the_watchdog_waits(built, state):
    for _ in range(20):
        command = [
            sys.executable,
            "-X",
            "dev",
            "-c",
            EXITS,
            str(built),
            *(["busy"] if state == "busy" else []),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
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
