"""What tests of an application do to its clocks is none of ours: we read real ones, and call no mock."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import time
from unittest import mock

import freezegun
import pytest
import time_machine

from otel_loopblock import guard
from otel_loopblock.watch.loops import Loops, loops
from otel_loopblock.watch.monitor import Monitor

BLOCK_S = 0.03
THEN = datetime.datetime(2001, 1, 1)
CLOCKS = ("perf_counter", "time_ns", "process_time", "thread_time", "clock_gettime")

_sleep = time.sleep

FREEZERS = {
    "freezegun": lambda: freezegun.freeze_time(THEN),
    "freezegun, moving": lambda: freezegun.freeze_time(THEN, tick=True),
    "freezegun, jumping": lambda: freezegun.freeze_time(THEN, auto_tick_seconds=3600),
    "time-machine": lambda: time_machine.travel(THEN, tick=False),
    "time-machine, moving": lambda: time_machine.travel(THEN),
}


@pytest.mark.parametrize("freezer", FREEZERS)
def test_blocks_are_as_long_as_they_are_under_another_clock(telemetry, run, freezer):
    telemetry.instrument(threshold_ms=10, heartbeat_interval_ms=5)

    def block():
        with telemetry.tracer.start_as_current_span("GET /"):
            _sleep(BLOCK_S)

    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.02)
        with FREEZERS[freezer]():
            for _ in range(2):
                block()
                turn = loop.create_future()
                loop.call_soon(turn.set_result, None)
                await turn
        block()
        await asyncio.sleep(0)
        await asyncio.sleep(0.02)

    began = time.perf_counter()
    run(main())
    lasted = time.perf_counter() - began

    blocks = telemetry.points("event_loop.block.duration")
    assert sum(point.count for point in blocks) >= 3  # on a busy machine more
    durations = [
        span.attributes["event_loop.block.duration"] for span in telemetry.spans("event_loop.blocked")
    ]
    durations += [event.attributes["event_loop.block.duration"] for _, event in telemetry.events()]
    for found in (*blocks, *telemetry.points("event_loop.lag")):
        assert 0 <= found.min <= found.max < lasted
    assert sum(BLOCK_S * 0.9 < duration < lasted for duration in durations) >= 3
    assert max(durations) < lasted


def test_mocks_in_the_place_of_clocks_are_not_called_by_us(telemetry, run, caplog):
    caplog.set_level(logging.ERROR, "otel_loopblock")  # logging asks for the time and the task
    telemetry.instrument(threshold_ms=10, heartbeat_interval_ms=5)

    async def main():
        await asyncio.sleep(0.02)
        with contextlib.ExitStack() as patched:
            mocks = [
                patched.enter_context(mock.patch(f"time.{name}", wraps=getattr(time, name)))
                for name in CLOCKS
            ]
            mocks.append(patched.enter_context(mock.patch("asyncio.current_task")))
            with telemetry.tracer.start_as_current_span("GET /"):
                _sleep(BLOCK_S)
            await asyncio.sleep(0.05)
            telemetry.points("event_loop.utilization")
            return [each.mock_calls for each in mocks]

    assert run(main()) == [[]] * (len(CLOCKS) + 1)
    assert telemetry.events()


def test_time_that_cannot_be_is_dropped_and_counted(telemetry):
    telemetry.instrument(threshold_ms=10)
    loop = asyncio.new_event_loop()
    monitor = loops.attach(loop, "asyncio")
    monitor.started = 1.0

    with mock.patch.object(Monitor, "report") as report:
        monitor.callback_ended(1.02, print, None, 1)
        monitor.callback_ended(978_303_381.0, print, None, 1)

    loop.close()
    assert report.call_count == 1
    assert guard.failures.pop("measure a time") == 1


class Strange(asyncio.AbstractEventLoop):
    """A loop in Python of no known kind."""

    def is_closed(self):
        pytest.fail("called")


def test_loop_of_the_application_is_not_asked_whether_it_is_closed(monkeypatch):
    monkeypatch.setattr("otel_loopblock.watch.demand.demand.is_any", True)
    table = Loops()
    strange = Strange()
    monitor = table.attach(strange, "strange")

    assert table.monitors() == [monitor]
