"""Runs of the garbage collector on a loop's thread: those that are over, and the one that lasts."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
from typing import ClassVar
from unittest import mock

import pytest

from otel_loopblock.hooks import gc_pauses
from otel_loopblock.hooks.gc_pauses import SHORTEST_S
from otel_loopblock.runtime import runtime
from otel_loopblock.testing import detect_blocking
from otel_loopblock.watch.collecting import collecting
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import MAX_COLLECTIONS
from tests.conftest import LOOPS


@pytest.fixture
def during():
    """Has a function called at the end of each run, while it still counts as one that lasts."""
    functions = []

    def collecting(phase, info):
        if phase == "stop":
            for function in functions:
                function()

    gc.callbacks.insert(0, collecting)
    yield functions
    gc.callbacks.remove(collecting)


def test_run_counts_while_it_lasts_and_afterwards(loop_kind, during):
    seen = []

    async def main():
        await asyncio.sleep(0)
        monitor = loops.of(asyncio.get_running_loop())
        began = time.perf_counter()

        def lasts():
            time.sleep(2 * SHORTEST_S)
            now = time.perf_counter()
            seen.append((collecting.since - began, monitor.collected(began, now), now - began))

        during.append(lasts)
        gc.collect()
        during.clear()
        assert collecting.since == 0.0
        ended = time.perf_counter()
        seen.append((monitor.collected(began, ended), ended - began, monitor.collected(ended, ended + 1)))

    loop = LOOPS[loop_kind]()
    with detect_blocking(raise_on_block=False):
        loop.run_until_complete(main())
    loop.close()

    (since, so_far, passed), (collected, lasted, after) = seen
    assert 0 < since < passed
    assert so_far == pytest.approx(passed - since)
    assert so_far <= collected <= lasted
    assert after == 0.0


def test_no_run_is_left_behind_when_the_hooks_are_taken_away(during):
    with detect_blocking(raise_on_block=False) as detected:

        def leave():
            detected.__exit__(None, None, None)
            during.clear()

        during.append(leave)
        gc.collect()
        assert collecting.since == 0.0
        detected.__enter__()


# -- whatever the moment -------------------------------------------------------------------------------------


class Strange(asyncio.SelectorEventLoop):
    """Asks back when it is asked for an attribute."""

    asked: ClassVar[list[str]] = []

    def __getattribute__(self, name):
        if name.startswith("_loopblock"):
            self.asked.append(name)
        return super().__getattribute__(name)


@pytest.fixture
def unraisable(monkeypatch):
    """What callbacks of the collector have raised."""
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    return raised


@pytest.fixture
def all_kept(monkeypatch):
    monkeypatch.setattr("otel_loopblock.hooks.gc_pauses.SHORTEST_S", 0.0)


def test_loop_is_not_asked_for_its_monitor(telemetry, all_kept, unraisable):
    telemetry.instrument()

    async def main():
        await asyncio.sleep(0)
        Strange.asked.clear()
        gc.collect()
        return list(Strange.asked)

    loop = Strange()
    asked = loop.run_until_complete(main())
    kept = loops.of(loop).collections
    loop.close()

    assert asked == []
    assert kept
    assert unraisable == []


@pytest.mark.parametrize("make", [mock.Mock, mock.MagicMock, object])
def test_collection_while_something_else_stands_for_a_loop(telemetry, all_kept, unraisable, make):
    telemetry.instrument()
    stranger = make()
    asyncio._set_running_loop(stranger)
    try:
        gc.collect()
    finally:
        asyncio._set_running_loop(None)

    assert unraisable == []
    assert getattr(stranger, "mock_calls", []) == []


def test_collection_while_the_clock_is_replaced(telemetry, all_kept, unraisable, monkeypatch):
    def broken():
        raise RuntimeError("no time")

    replaced = time.perf_counter
    for module in (time, gc_pauses):
        for name in [name for name, value in vars(module).items() if value is replaced]:
            monkeypatch.setattr(module, name, broken)
    telemetry.instrument()
    gc.collect()

    assert unraisable == []


def test_collection_takes_no_lock(telemetry, run, all_kept, monkeypatch, unraisable):
    class Refusing:
        """In the place of a lock: whoever wants it in the middle of a collection would wait for ever."""

        def __init__(self, lock):
            self.lock = lock

        def __enter__(self):
            self.acquire()

        def __exit__(self, *error):
            self.lock.release()

        def acquire(self, *args, **kwargs):
            asked.extend(collecting)
            return self.lock.acquire(*args, **kwargs)

        def release(self):
            self.lock.release()

    collecting, asked = [], []

    async def main():
        await asyncio.sleep(0)
        with runtime._lock, runtime.watchdog._lock, loops._lock:
            for owner in (runtime, runtime.watchdog, loops):
                monkeypatch.setattr(owner, "_lock", Refusing(owner._lock))
            monkeypatch.setattr(
                logging.getLogger("otel_loopblock"), "handle", lambda record: pytest.fail("logs")
            )
            collecting.append("a lock")
            gc.collect()
            collecting.clear()
            monkeypatch.undo()
        return loops.of(asyncio.get_running_loop()).collections

    telemetry.instrument()

    assert run(main())
    assert asked == unraisable == []


def test_runs_can_be_copied_while_another_comes(telemetry, run, all_kept):
    async def main():
        await asyncio.sleep(0)
        monitor = loops.of(asyncio.get_running_loop())
        before = gc.get_threshold()
        gc.set_threshold(1)  # on 3.11 to make a tuple is enough
        try:
            for _ in range(2000):
                monitor.collected(0.0, 1e9)
                monitor.evidence(time.perf_counter())
        finally:
            gc.set_threshold(*before)
        return monitor.collections

    telemetry.instrument()
    kept = run(main())

    assert len(kept) == MAX_COLLECTIONS
    assert list(kept) == sorted(kept)


def test_forked_child_asks_no_loop_anything(telemetry):
    class Stubborn(asyncio.SelectorEventLoop):
        stubborn = False

        def is_closed(self):
            assert not self.stubborn
            return super().is_closed()

        def __delattr__(self, name):
            assert not self.stubborn
            super().__delattr__(name)

    telemetry.instrument()
    loop = Stubborn()
    loop.run_until_complete(asyncio.sleep(0))
    Stubborn.stubborn = True
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(len(loops.monitors())).encode())
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 100) == b"0"
    os.waitpid(pid, 0)
    os.close(reading)
    Stubborn.stubborn = False
    loop.close()
