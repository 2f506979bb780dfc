"""Runs of the garbage collector on a loop's thread: those that are over, and the one that lasts."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from otel_loopblock.hooks.collector import SHORTEST_S
from otel_loopblock.monitor import ATTRIBUTE
from otel_loopblock.registry import registry
from otel_loopblock.testing import detect_blocking
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
        monitor = getattr(asyncio.get_running_loop(), ATTRIBUTE)
        began = time.perf_counter()

        def lasts():
            time.sleep(2 * SHORTEST_S)
            now = time.perf_counter()
            seen.append((registry.collecting_since - began, monitor.collected(began, now), now - began))

        during.append(lasts)
        gc.collect()
        during.clear()
        assert registry.collecting_since == 0.0
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
        assert registry.collecting_since == 0.0
        detected.__enter__()
