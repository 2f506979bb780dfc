"""What is counted of a loop's thread while its loop rests, and when that is told."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from _thread import get_native_id

import pytest

from otel_loopblock.core import pure

TICK_S = 0.002
SLEEPS = 8

pytestmark = pytest.mark.skipif(
    pure.scheduling(get_native_id()) is None, reason="the kernel counts nothing of threads"
)


@pytest.fixture
def resting(core):
    """A loop's monitor while its watchdog is asleep: what it told, and how a callback begins."""

    class Monitor(core.Monitor):
        def __init__(self):
            self.told = []
            self.error = None

        def rest_ended(self, since, now, queued, runs, /):
            self.told.append((since, now, queued, runs, self.started))
            if self.error is not None:
                raise self.error

    waiter, monitor = core.Waiter(), Monitor()
    monitor.waiter, monitor.native_id = waiter, get_native_id()
    loop = asyncio.new_event_loop()
    monitor.loop = weakref.ref(loop)
    run = core.Run(asyncio.Handle, asyncio.Handle._run, {id(loop): monitor}, None, 2)
    watchdog = threading.Thread(target=waiter.wait, args=((monitor,), TICK_S))
    watchdog.start()
    until = time.monotonic() + 30.0
    while not waiter.asleep and time.monotonic() < until:
        time.sleep(0.001)

    def begin(callback):
        run(asyncio.Handle(callback, (), loop))

    yield monitor, begin
    while watchdog.is_alive():
        waiter.wake()
        watchdog.join(0.05)
    loop.close()


def _get_cpus_again_and_again():
    for _ in range(SLEEPS):
        time.sleep(2 * TICK_S)


def test_first_callback_tells_how_often_the_thread_got_a_cpu_in_the_rest(resting):
    monitor, begin = resting
    _get_cpus_again_and_again()
    before, started = time.perf_counter(), []

    begin(lambda: started.append(monitor.started))

    ((since, now, queued, runs, _),) = monitor.told
    assert since < before <= now <= started[0]  # what was told of the rest is no part of the callback
    assert runs >= SLEEPS
    assert queued >= 0.0

    begin(lambda: None)
    assert len(monitor.told) == 1


def test_rest_in_which_it_got_none_is_not_told(resting):
    monitor, begin = resting
    monitor.begin_rest()
    until = time.perf_counter() + 4 * TICK_S
    while time.perf_counter() < until:  # its thread keeps its CPU, as far as others let it
        pass
    queued, runs = pure.scheduling(monitor.native_id)

    begin(lambda: None)

    busy_machine = runs - monitor.rest_runs >= 2 or queued - monitor.rest_queued >= TICK_S
    assert bool(monitor.told) <= busy_machine


def test_callback_that_is_not_watched_ends_no_rest(resting):
    monitor, begin = resting
    monitor.unwatched = _unwatched
    _get_cpus_again_and_again()

    begin(_unwatched)

    assert monitor.told == []


def _unwatched():
    """As each heartbeat."""


def test_interrupt_that_comes_while_it_is_told_is_not_lost(resting):
    monitor, begin = resting
    monitor.error = KeyboardInterrupt()
    _get_cpus_again_and_again()

    with pytest.raises(KeyboardInterrupt):
        begin(lambda: None)
        for _ in range(100):  # raised between two instructions of the main thread
            pass

    assert monitor.told
