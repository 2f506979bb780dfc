"""The watchdog's thread: its life, how often it looks, and how rarely it wakes up."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from otel_loopblock import core
from otel_loopblock.runtime import runtime
from otel_loopblock.watch.watchdog import EARLY_LOOKS, EARLY_S, LATE_LOOK_S, Watchdog

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts this")


@pytest.fixture
def looks(monkeypatch):
    """When the watchdog looked at a callback, by its age."""
    ages = []
    look = runtime.watchdog._look_at

    def look_at(monitor, started, wake_up, *rest):
        ages.append(wake_up.got - started)
        look(monitor, started, wake_up, *rest)

    monkeypatch.setattr(runtime.watchdog, "_look_at", look_at)
    return ages


def test_watchdog_can_be_stopped_and_started_again_at_once():
    watchdog = Watchdog()
    for _ in range(20):
        watchdog.start()
        thread = watchdog.life.thread
        watchdog.stop(timeout_s=30)
        assert not thread.is_alive()


def test_next_thread_waits_while_the_one_before_still_does(monkeypatch):
    failed = []
    monkeypatch.setattr("otel_loopblock.guard.failed", failed.append)
    watchdog = Watchdog()
    threads = []
    for _ in range(50):
        watchdog.start()
        threads.append(watchdog.life.thread)
        watchdog.end()
    watchdog.start()
    for thread in threads:
        thread.join(30)
    watchdog.stop(timeout_s=30)

    assert failed == []
    assert not any(thread.is_alive() for thread in threads)


def test_looks_become_rarer_while_a_block_lasts(telemetry, run, looks):
    telemetry.instrument(threshold_ms=10)

    async def main():
        await asyncio.sleep(0.05)
        time.sleep(0.5)

    run(main())

    early = [age for age in looks if age < EARLY_S]
    late = [age for age in looks if age >= EARLY_S]
    assert 4 <= len(early) <= EARLY_LOOKS + 1
    assert 3 <= len(late) <= 0.4 / LATE_LOOK_S + 1


def _wake_ups():
    """How often the watchdog has gone to sleep."""
    with open(f"/proc/self/task/{runtime.watchdog.life.thread.native_id}/status") as file:
        (line,) = [line for line in file if line.startswith("voluntary_ctxt_switches")]
    return int(line.split()[1])


@linux
def test_watchdog_of_an_idle_loop_sleeps(telemetry, run):
    telemetry.instrument(heartbeat_interval_ms=0)

    async def main():
        await asyncio.sleep(0.1)
        before = _wake_ups()
        await asyncio.sleep(0.5)
        return _wake_ups() - before  # the end of this sleep wakes it up

    assert run(main()) <= 8  # of 200 ticks


@linux
@pytest.mark.skipif(core.NAME == "pure", reason="the twin in Python needs the GIL to look at the time")
def test_watchdog_of_a_busy_loop_wakes_up_once_per_tick_at_most(telemetry, run, looks):
    telemetry.instrument(threshold_ms=20, heartbeat_interval_ms=0)

    async def main():
        await asyncio.sleep(0)
        before, ended = _wake_ups(), time.perf_counter() + 0.5
        while time.perf_counter() < ended:
            await asyncio.sleep(0)
        return _wake_ups() - before

    wake_ups = run(main())

    assert 0 < wake_ups <= 1.5 * 0.5 / 0.005
    # Of 100 ticks: it asks for the GIL where a callback is long, as some are on a busy machine.
    assert len(looks) <= 25


def test_thread_begins_with_the_first_loop(telemetry, run):
    telemetry.instrument()
    assert runtime.watchdog.life is None

    run(asyncio.sleep(0))

    assert runtime.watchdog.life.thread.is_alive()
