"""Listeners come and go, and one that fails or hangs is nobody else's trouble."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from otel_loopblock import guard
from otel_loopblock.runtime import runtime
from otel_loopblock.watch.monitor import listeners
from otel_loopblock.watch.watchdog import THREAD_NAME
from tests.conftest import LOOPS


class Listener:
    """Counts what it is told; does ``act`` each time."""

    threshold_s = 0.02
    heartbeat_interval_s = 0.0
    watchdog = True
    saturation_s = 0.0
    samples = False
    max_samples = 2

    def __init__(self, act=lambda: None, **options):
        vars(self).update(options)
        self.act = act
        self.told = {"running": 0, "blocked": 0, "lag": 0}
        self.threads = set()

    def _tell(self, what):
        self.told[what] += 1
        self.threads.add(threading.get_ident())
        self.act()

    def callback_running(self, monitor, started, now):
        self._tell("running")

    def callback_blocked(self, monitor, started, ended, target, context):
        self._tell("blocked")

    def lag_measured(self, monitor, lag_s):
        self._tell("lag")


@pytest.fixture
def listening():
    """Adds listeners, and removes those that the test has not."""

    def listen(*args, **options):
        listener = Listener(*args, **options)
        runtime.add(listener)
        return listener

    guard.failures.clear()
    yield listen
    for listener in listeners.now:
        runtime.remove(listener)
    _until(lambda: not _watchdogs())


@pytest.fixture
def hang():
    """Does not return before the test is over, or has set it."""
    over = threading.Event()
    yield over
    over.set()


def _watchdogs():
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def _until(is_so, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert is_so()


async def blocks(count=1, seconds=0.06):
    for _ in range(count):
        await asyncio.sleep(0.01)
        time.sleep(seconds)


def test_listener_that_hangs_leaves_no_second_watchdog_behind(listening, hang, run):
    hung = listening(lambda: hang.wait(60) if threading.current_thread().name == THREAD_NAME else None)
    run(blocks())
    (old,) = _watchdogs()
    runtime.remove(hung)
    other = listening()
    run(blocks(2))

    (new,) = [thread for thread in _watchdogs() if thread is not old]
    assert other.told["running"] > 0  # the new one looks, though the old one hangs
    hang.set()
    _until(lambda: not old.is_alive())
    other.threads.clear()
    run(blocks(2))
    assert _watchdogs() == [new]
    assert other.threads == {new.ident, threading.get_ident()}


@pytest.mark.parametrize("on_loop", [True, False])
def test_listener_that_hangs_is_removed_at_once(listening, hang, run, on_loop):
    hung = listening(lambda: hang.wait(60) if threading.current_thread().name == THREAD_NAME else None)
    took = []

    def remove():
        began = time.perf_counter()
        runtime.remove(hung)
        took.append(time.perf_counter() - began)

    async def main():
        await blocks()
        if on_loop:
            remove()

    run(main())
    if not on_loop:
        remove()

    assert took[0] < 0.9


def test_nobody_waits_for_the_lock_while_a_watchdog_ends(listening, hang, run, monkeypatch):
    hung = listening(lambda: hang.wait(60) if threading.current_thread().name == THREAD_NAME else None)
    run(blocks())
    (old,) = _watchdogs()
    waits, waited = threading.Event(), old.join

    def join(timeout=None):
        waits.set()
        waited(timeout)

    monkeypatch.setattr(old, "join", join)
    remover = threading.Thread(target=runtime.remove, args=(hung,))
    hung.watchdog = False
    monkeypatch.setattr("otel_loopblock.watch.watchdog.STOP_S", 5.0, raising=False)
    remover.start()
    assert waits.wait(30)
    began = time.perf_counter()
    listening()
    took = time.perf_counter() - began

    assert remover.is_alive()
    assert took < 1.0
    hang.set()
    remover.join(30)


def test_listener_that_raises_takes_no_look_from_another(listening, loop_kind):
    def fail():
        raise RuntimeError("not ours")

    def looks():
        healthy.told["running"] = 0
        loop = LOOPS[loop_kind]()
        loop.run_until_complete(blocks(10))
        loop.close()
        return healthy.told["running"]

    failing = listening(fail)
    healthy = listening()
    beside = looks()
    runtime.remove(failing)
    alone = looks()

    assert failing.told["blocked"] == 10
    assert healthy.told["blocked"] == 20
    assert beside >= 0.7 * alone > 10
    assert guard.failures["report a block"] == 10
    assert guard.failures["tell of a running callback"] >= failing.told["running"]
    guard.failures.clear()


def test_loop_that_cannot_be_looked_at_takes_no_look_from_another(listening, monkeypatch):
    listener, watchdog = listening(), runtime.watchdog
    broken, sound = asyncio.new_event_loop(), asyncio.new_event_loop()
    look, done = watchdog._look_at, threading.Event()

    def fail(monitor, *args):
        if monitor.get_loop() is broken:
            raise RuntimeError("ours")
        look(monitor, *args)

    def run_broken():
        while not done.is_set():
            broken.run_until_complete(blocks())

    monkeypatch.setattr(watchdog, "_look_at", fail)
    thread = threading.Thread(target=run_broken)
    thread.start()
    sound.run_until_complete(blocks(5))
    done.set()
    thread.join()
    for loop in (broken, sound):
        loop.close()

    assert listener.told["running"] > 10
    assert guard.failures["look at a loop"] > 1
    guard.failures.clear()
