"""The wait's ends, and what it tells while it lasts."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref
from functools import partial
from itertools import repeat
from operator import attrgetter

import pytest
import uvloop

TICK_S = 0.005
LONG_S = 30.0
"""A wait that lasts as long has missed what was to end it."""


@pytest.fixture
def waiter(core):
    return core.Waiter()


@pytest.fixture
def monitor(core, waiter):
    monitor = core.Monitor()
    monitor.waiter = waiter
    return monitor


@pytest.fixture
def waits(waiter):
    """Begins waits in a thread; calls the function with what one has returned."""
    threads = []

    def begin(monitors, tick_s=TICK_S, **limit):
        returned = []
        thread = threading.Thread(
            target=lambda: returned.append(waiter.wait(monitors, tick_s, **limit)), daemon=True
        )
        threads.append(thread)
        thread.start()

        def result(timeout_s=LONG_S):
            thread.join(timeout_s)
            return returned[0] if returned else None

        return result

    yield begin
    for thread in threads:
        while thread.is_alive():
            waiter.wake()
            thread.join(0.05)


def _until(is_so):
    deadline = time.monotonic() + LONG_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert is_so()


def _rouse(core, monitor, callback=int):
    """Begin a callback of the monitor's loop, as the replacements do."""
    loop = asyncio.new_event_loop()
    monitor.loop = weakref.ref(loop)
    run = core.Run(asyncio.Handle, asyncio.Handle._run, {id(loop): monitor}, None, 2)
    run(asyncio.Handle(callback, (), loop))
    loop.close()


def _rouse_by_scheduler(loop_class, core, monitor, callback=int):
    """The same, as a loop's call_soon does."""
    loop = loop_class()
    monitor.loop = weakref.ref(loop)
    call_soon = core.Scheduler(loop_class.call_soon, 1, {id(loop): monitor}, None, 2)
    call_soon(loop, callback)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()


# -- what ends it
# ---------------------------------------------------------------------------------------------


def test_refresh_ends_the_wait_with_its_next_tick(core, waiter, monitor, waits):
    monitor.started, monitor.looked_at, monitor.look_due = 1.0, 1.0, 1e18  # it ticks, and looks at nothing
    result = waits((monitor,))
    _until(lambda: waiter.due)
    assert result(10 * TICK_S) is None

    waiter.refresh()

    assert result()[0] == core.WOKEN


def test_refresh_before_a_wait_is_not_lost(core, waiter, waits):
    """What came after the monitors were listed must be among the next ones."""
    waiter.refresh()
    assert waits(())()[0] == core.WOKEN

    assert waits(())(20 * TICK_S) is None  # and ends only one


def test_refresh_wakes_nobody_up_but_the_next_callback_does(core, waiter, monitor, waits):
    result = waits((monitor,))
    _until(lambda: waiter.asleep)
    waiter.refresh()
    assert result(20 * TICK_S) is None
    assert waiter.asleep

    _rouse(core, monitor)

    assert result()[0] == core.WOKEN


@pytest.mark.parametrize("loop_class", [asyncio.SelectorEventLoop, uvloop.Loop])
def test_unwatched_callback_does_not_wake_it_and_the_next_one_does(core, waiter, monitor, waits, loop_class):
    monitor.unwatched = int
    result = waits((monitor,))
    _until(lambda: waiter.asleep)
    waiter.refresh()
    for run in (_rouse, partial(_rouse_by_scheduler, loop_class)):
        run(core, monitor)
    assert result(20 * TICK_S) is None
    assert waiter.asleep

    _rouse_by_scheduler(loop_class, core, monitor, float)

    assert result()[0] == core.WOKEN


def test_wake_before_a_wait_ends_that_one_and_no_other(core, waiter, waits):
    waiter.wake()
    waiter.wake()
    assert waits(())()[0] == core.WOKEN

    assert waits(())(20 * TICK_S) is None


def test_wake_ends_a_wait_that_sleeps_for_good(core, waiter, waits):
    result = waits(())
    _until(lambda: waiter.asleep)
    time.sleep(3 * TICK_S)
    waiter.wake()

    why, due, woke, got = result()
    assert why == core.WOKEN
    assert due <= woke <= got


@pytest.mark.parametrize("busy", [True, False])
def test_wait_ends_when_its_time_is_up(core, monitor, waits, busy):
    if busy:
        monitor.started, monitor.looked_at, monitor.look_due = 1.0, 1.0, 1e18
    began = time.perf_counter()

    why, *_ = waits((monitor,), limit_s=10 * TICK_S)()

    assert why == core.WOKEN
    assert 10 * TICK_S <= time.perf_counter() - began < LONG_S / 2


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("nan")])
def test_limit_that_is_none_is_refused(waiter, limit_s):
    with pytest.raises(ValueError, match="limit_s"):
        waiter.wait((), TICK_S, limit_s)


@pytest.mark.parametrize("limit_s", [1e10, 1e300, float("inf")])
def test_limit_may_be_longer_than_anybody_waits(core, waiter, waits, limit_s):
    result = waits((), limit_s=limit_s)
    _until(lambda: waiter.asleep)
    assert result(10 * TICK_S) is None
    waiter.wake()

    assert result()[0] == core.WOKEN


def test_two_cannot_wait_at_once(waiter, waits):
    result = waits(())
    _until(lambda: waiter.asleep)

    with pytest.raises(RuntimeError, match="waits already"):
        waiter.wait((), TICK_S)
    assert result(0.0) is None


# -- when a look is due -------------------------------------------------------------------------------------


def test_callback_that_is_due_at_once_is_looked_at_with_the_next_tick(core, monitor, waits):
    monitor.started = time.perf_counter() - 1.0

    why, due, woke, got = waits((monitor,))()

    assert why == core.LONG_CALLBACK
    assert due <= woke <= got


def test_look_waits_until_it_is_due(core, monitor, waits):
    monitor.started = monitor.looked_at = time.perf_counter() - 1.0
    monitor.look_due = due = time.perf_counter() + 10 * TICK_S

    why, _, woke, _ = waits((monitor,))()

    assert why == core.LONG_CALLBACK
    assert woke >= due


def test_look_that_was_due_for_another_callback_tells_nothing(core, monitor, waits):
    monitor.started = time.perf_counter() - 1.0
    monitor.looked_at, monitor.look_due = monitor.started - 1.0, 1e18

    assert waits((monitor,))()[0] == core.LONG_CALLBACK


def test_one_long_callback_among_many_is_enough(core, waits):
    monitors = tuple(core.Monitor() for _ in range(100))
    monitors[70].started = time.perf_counter() - 1.0

    assert waits(monitors)()[0] == core.LONG_CALLBACK


# -- what it tells while it lasts
# -----------------------------------------------------------------------------


def test_next_tick_is_told_while_it_ticks_and_none_while_it_sleeps(waiter, monitor, waits):
    assert (waiter.due, waiter.woke) == (0.0, 0.0)
    monitor.started, monitor.looked_at, monitor.look_due = 1.0, 1.0, 1e18
    result = waits((monitor,))
    _until(lambda: waiter.due)
    assert waiter.due - time.perf_counter() <= TICK_S
    assert not waiter.asleep

    monitor.started = 0.0
    _until(lambda: waiter.asleep)
    assert waiter.due == waiter.woke == 0.0

    waiter.wake()
    result()
    assert waiter.due == waiter.woke == 0.0


def test_it_is_due_to_wake_up_when_a_callback_begins(core, waiter, monitor, waits):
    result = waits((monitor,))
    _until(lambda: waiter.asleep)
    due = []

    began = time.perf_counter()
    _rouse(core, monitor, lambda: due.append(waiter.due))
    ended = time.perf_counter()
    waiter.wake()
    result()

    assert began <= due[0] <= ended + TICK_S


def test_wake_up_for_a_look_is_told_while_it_waits_for_the_gil(core, waiter, monitor, waits):
    interval = sys.getswitchinterval()
    result = waits((monitor,), 0.02)
    _until(lambda: waiter.due)
    sys.setswitchinterval(10.0)  # it has the GIL when it is given, not earlier
    try:
        monitor.started = time.perf_counter() - 1.0
        began = time.perf_counter()
        # C code that keeps the GIL, for longer than a tick, and reads both meanwhile.
        due, woke = max(map(attrgetter("due", "woke"), repeat(waiter, 1_500_000)))
        kept_until = time.perf_counter()
    finally:
        sys.setswitchinterval(interval)
    why, was_due, had_woken, got = result()

    assert kept_until - began > 0.05
    assert why == core.LONG_CALLBACK
    assert due == was_due
    assert got >= kept_until
    if core.TELLS_LATENESS:
        assert began - 0.02 <= woke == had_woken < kept_until
    else:
        assert woke == 0.0


def test_wait_for_a_cpu_is_told_since_it_was_read_last(core, waiter, waits):
    assert waiter.queued() is None  # nobody has waited yet
    result = waits(())
    _until(lambda: waiter.asleep)
    queued_s = waiter.queued()
    waiter.wake()
    result()

    if core.TELLS_LATENESS and core.scheduling(threading.get_native_id()) is not None:
        assert 0.0 <= queued_s < LONG_S
    else:
        assert queued_s is None
