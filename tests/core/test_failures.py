"""What goes wrong around the core: no memory, forks, threads and loops that go while they are looked at."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

from otel_loopblock.core import pure
from tests.service.running import ROOT

TICK_S = 0.001

NOT_IN_DEVELOPMENT = {**os.environ, "PYTHONDEVMODE": ""}
"""For programs: asyncio's debug mode tells of callbacks that take long. It also takes stacks, and there a
debug build of CPython 3.11 fails an assertion of its own when it has no memory."""

CASES = (
    "asking_a_monitor",
    "asking_a_replacement",
    "asking_a_scheduled_callback",
    "attaching",
    "both_raise",
    "callback",
    "callback_over_the_threshold",
    "callback_that_raises",
    "callback_that_raises_over_the_threshold",
    "method",
    "module",
    "report_that_raises",
    "scheduled_over_the_threshold",
    "scheduled_that_raises",
    "scheduling",
    "scheduling_on_uvloop",
    "stack",
    "types",
    "variable",
    "wait",
)

CRASH_3_15 = ("callback_over_the_threshold", "method", "scheduled_over_the_threshold", "scheduling")


@pytest.mark.parametrize("case", CASES)
def test_no_memory_is_an_error_and_no_crash(native, case):
    pytest.importorskip("_testcapi")
    if case == "module" and sys.version_info[:2] == (3, 13):
        pytest.skip("CPython 3.13 itself crashes where it has no memory for a type's dict")
    if case in CRASH_3_15 and sys.version_info[:2] == (3, 15):
        pytest.skip("CPython 3.15.0 itself crashes: a method that appends to a list, without memory")
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.failing", case],
        cwd=ROOT,
        env=NOT_IN_DEVELOPMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 0  # so many allocations were made to fail


def test_all_cases_are_tried(native):
    pytest.importorskip("_testcapi")
    code = "from tests.core.failing import CASES; print(*sorted(CASES))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert tuple(found.stdout.split()) == CASES


# -- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit_s", [1e10, 1e300, float("inf")])
def test_any_limit_can_be_waited_for(core, limit_s):
    waiter = core.Waiter()
    thread = threading.Thread(target=waiter.wait, args=((), TICK_S, limit_s))
    thread.start()
    time.sleep(0.05)  # it sleeps without a tick by then
    waiter.wake()
    thread.join(10)

    assert not thread.is_alive()


# -- forks ---------------------------------------------------------------------------------------

FORKS = """
import asyncio, importlib, os, sys, threading, time, weakref
core = importlib.import_module(sys.argv[1])
waiter, told = core.Waiter(), []

class Monitor(core.Monitor):
    __slots__ = ("__weakref__",)
    def callback_ended(self, *what):
        told.append(what)

loop, monitors = asyncio.new_event_loop(), {}
monitor = monitors[id(loop)] = Monitor()
monitor.loop, monitor.threshold, monitor.waiter = weakref.ref(loop), 0.0, waiter
asyncio.Handle._run = core.Run(asyncio.Handle, asyncio.Handle._run, monitors, None, 1)

def watch(waiter):
    while True:
        waiter.wait((monitor,), 0.0001, 0.01)

def in_a_callback():
    time.sleep(0.01)
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    else:  # the waiter's thread is not here
        monitor.waiter = core.Waiter()
        threading.Thread(target=watch, args=(monitor.waiter,), daemon=True).start()
    assert monitor.started and monitor.callback is in_a_callback

threading.Thread(target=watch, args=(waiter,), daemon=True).start()
loop.call_soon(in_a_callback)
loop.call_later(0.03, loop.stop)
loop.run_forever()
assert [callback for _, callback, *_ in told][0] is in_a_callback
assert not monitor.started
loop.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_in_a_callback_while_the_watchdog_waits(core):
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORKS, core.__name__],
            cwd=ROOT,
            env=NOT_IN_DEVELOPMENT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")


# -- threads -------------------------------------------------------------------------------------


def test_threads_end_while_they_are_looked_at(core):
    over, seen, clocks = threading.Event(), [0, 0], []

    def look():
        while not over.is_set():
            for thread in core.threads():
                found = core.stack(thread, 50)
                if found:
                    seen[0] += 1
                    code, instruction, _, _ = found[0]
                    core.variable(thread, code, instruction, "depth")

    def wait():
        waiter = core.Waiter()
        while not over.is_set():
            monitors = tuple(clocks[-20:])
            waiter.wait(monitors, TICK_S, TICK_S)
            seen[1] += sum(monitor.before_cpu == -1.0 for monitor in monitors)

    def down(depth):
        if depth:
            down(depth - 1)
        else:
            time.sleep(0.0005)

    def short_life():
        monitor = core.Monitor()
        monitor.clock = core.thread_clock()
        clocks.append(monitor)
        down(20)

    watching = [threading.Thread(target=target) for target in (look, wait)]
    for thread in watching:
        thread.start()
    for _ in range(50):
        threads = [threading.Thread(target=short_life) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    over.set()
    for thread in watching:
        thread.join(20)
        assert not thread.is_alive()

    assert len(clocks) == 200
    assert seen[0] > 0
    if sys.platform == "linux":
        assert seen[1] > 0  # to read the clock of a thread that has ended fails, and does no harm


def test_stack_of_a_thread_is_there_while_it_starts_others(core):
    """In CPython 3.11 one that starts has its parent's id for a moment, and no stack."""
    main, over, looks = threading.get_ident(), threading.Event(), [0, 0]

    def look():
        while not over.is_set():
            looks[core.stack(main, 1) is not None] += 1

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(200):
        threading.Thread(target=int).start()
    over.set()
    thread.join(20)

    assert looks[True] > 10
    assert looks[False] == 0


# -- loops ---------------------------------------------------------------------------------------


class Loop:
    pass


@pytest.mark.parametrize("started", [0.0, 1e18], ids=["idle", "running"])
def test_loop_is_collected_while_the_watchdog_waits_over_its_monitor(core, started):
    waiter, loop, here = core.Waiter(), Loop(), threading.Event()
    loop.me = loop  # only the collector frees it

    class Monitor(core.Monitor):
        __slots__ = ("__weakref__",)

    monitor = Monitor()
    monitor.loop, monitor.waiter, monitor.started = weakref.ref(loop), waiter, started
    gone = [weakref.ref(loop), weakref.ref(monitor)]
    monitors = [(monitor,)]

    def watch():
        here.set()
        held = monitors.pop()
        while waiter.wait(held, TICK_S)[0] != core.WOKEN:  # on a busy machine it tells that it was late
            pass

    thread = threading.Thread(target=watch)
    thread.start()
    assert here.wait(10)
    time.sleep(0.02)
    del loop, monitor
    gc.collect()

    assert gone[0]() is None
    assert gone[1]() is not None  # the wait holds it
    time.sleep(0.02)
    waiter.wake()
    thread.join(10)
    assert not thread.is_alive()
    gc.collect()
    assert gone[1]() is None


def test_loop_that_is_collected_while_its_callbacks_are_scheduled(core):
    monitors = {}

    class Monitor(core.Monitor):
        __slots__ = ("__weakref__",)

    def attach(loop):
        monitor = monitors[id(loop)] = Monitor()
        monitor.loop = weakref.ref(loop, lambda _: monitors.clear())
        return monitor

    kept = []
    scheduler = core.Scheduler(lambda loop, callback: kept.append(callback), 1, monitors, attach, 1)
    called = []
    for _ in range(100):
        loop = Loop()
        loop.me = loop
        scheduler(loop, lambda: called.append(1))
        del loop
        gc.collect(1)  # it is young
    assert monitors == {}
    for callback in kept:
        callback()
    assert len(called) == 100


def test_what_is_left_of_a_core_is_collected(core):
    """Types, monitors and replacements that hold each other: nothing crashes, all go."""
    if core is pure:
        pytest.skip("functions of Python")
    gone = []
    for _ in range(50):
        monitors = {}
        run = core.Run(asyncio.Handle, asyncio.Handle._run, monitors, None, 1)
        scheduler = core.Scheduler(Loop, 1, monitors, lambda loop: None, 1)
        monitors["run"], monitors["scheduler"], run.scheduler, scheduler.run = run, scheduler, scheduler, run
        gone += [weakref.ref(run), weakref.ref(scheduler)]
        del run, scheduler, monitors
    gc.collect()
    assert not any(each() for each in gone)
