"""The heartbeat measures loops that live in real time, and is noticed by none."""

from __future__ import annotations

import asyncio
import asyncio.base_events
import socket
import threading
import time
from unittest import mock

import pytest
import uvloop

from otel_loopblock import guard
from otel_loopblock.runtime import runtime
from otel_loopblock.watch.loops import loops
from tests.conftest import LOOPS


def _beats(telemetry):
    return sum(point.count for point in telemetry.points("event_loop.lag"))


async def _pause():
    await asyncio.sleep(0.1)


class Virtual(asyncio.SelectorEventLoop):
    """Its time goes on from one timer to the next."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = self._scheduled[0]._when
        super()._run_once()


def test_virtual_clock_is_not_moved_by_a_timer_of_ours(telemetry):
    telemetry.instrument(heartbeat_interval_ms=5)
    loop, seen = Virtual(), []

    async def main():
        for seconds in (0.001, 1.0, 60.0):
            await asyncio.sleep(seconds)
            seen.append(loop.time())

    loop.run_until_complete(main())
    loop.close()

    assert seen == pytest.approx([0.001, 1.001, 61.001])
    assert _beats(telemetry) == 0


def _on_the_class(kind, monkeypatch):
    return type("Own", (kind,), {"time": lambda self: time.monotonic()})()


def _on_the_instance(kind, monkeypatch):
    loop = kind()
    loop.time = time.monotonic
    return loop


def _native_elsewhere(kind, monkeypatch):
    return type("Own", (kind,), {"time": staticmethod(time.time)})()


def _timers_of_its_own(kind, monkeypatch):
    def call_at(self, when, callback, *args, **kwargs):
        return kind.call_at(self, when, callback, *args, **kwargs)

    return type("Own", (kind,), {"call_at": call_at})()


def _mock_on_the_instance(kind, monkeypatch):
    loop = kind()
    loop.time = mock.Mock(side_effect=time.monotonic)
    return loop


@pytest.mark.parametrize(
    "make",
    [_on_the_class, _on_the_instance, _native_elsewhere, _timers_of_its_own, _mock_on_the_instance],
)
def test_loop_with_methods_of_the_applications_has_no_timer_of_ours(telemetry, loop_kind, make, monkeypatch):
    telemetry.instrument(heartbeat_interval_ms=5)
    loop = make({"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.Loop}[loop_kind], monkeypatch)
    loop.run_until_complete(_pause())
    loop.close()

    assert _beats(telemetry) == 0


@pytest.mark.parametrize("of", ["time", "asyncio.base_events.time"])
def test_loop_has_no_timer_of_ours_while_the_clock_of_all_is_replaced(telemetry, monkeypatch, of):
    telemetry.instrument(heartbeat_interval_ms=5)
    clock = mock.Mock(wraps=time, monotonic=mock.Mock(side_effect=time.monotonic))
    if of == "time":
        monkeypatch.setattr(time, "monotonic", clock.monotonic)
    else:
        monkeypatch.setattr(asyncio.base_events, "time", clock)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_pause())
    loop.close()
    monkeypatch.undo()

    assert _beats(telemetry) == 0


class EndsWhenIdle(asyncio.SelectorEventLoop):
    """Runs until there is nothing to do."""

    def _run_once(self):
        if self._ready or self._scheduled:
            super()._run_once()
        else:
            self.stop()
            self._ready.append(asyncio.Handle(int, (), self))
            super()._run_once()


def test_heartbeat_keeps_no_loop_alive_that_has_nothing_to_do(telemetry):
    telemetry.instrument(heartbeat_interval_ms=5)
    loop = EndsWhenIdle()
    loop.call_later(0.02, int)
    watch = threading.Timer(5.0, lambda: loop.call_soon_threadsafe(loop.stop))
    watch.start()
    began = time.monotonic()
    loop.run_forever()
    watch.cancel()
    loop.close()

    assert time.monotonic() - began < 2.0


def test_idle_server_is_measured(telemetry, loop_kind):
    telemetry.instrument(heartbeat_interval_ms=5)
    loop = LOOPS[loop_kind]()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    loop.add_reader(listening.fileno(), int)
    loop.call_soon(int)
    threading.Timer(0.3, lambda: loop.call_soon_threadsafe(loop.stop)).start()
    loop.run_forever()
    loop.remove_reader(listening.fileno())
    listening.close()
    loop.close()

    assert _beats(telemetry) >= 5


def test_watchdog_of_an_idle_loop_sleeps_through_the_heartbeats(telemetry, loop_kind):
    telemetry.instrument(heartbeat_interval_ms=5)
    loop = LOOPS[loop_kind]()
    asleep = []

    def sample():
        time.sleep(0.2)  # whatever else a loop does at its start is over
        for _ in range(50):
            asleep.append(bool(loops.waiter.asleep))
            time.sleep(0.005)
        loop.call_soon_threadsafe(loop.stop)

    sampling = threading.Thread(target=sample)
    loop.call_soon(sampling.start)
    loop.run_forever()
    sampling.join()
    loop.close()

    assert _beats(telemetry) >= 10
    assert sum(asleep) > 40


def test_handles_that_a_test_runs_by_hand_bring_no_timer(telemetry):
    telemetry.instrument(heartbeat_interval_ms=5)
    loop = asyncio.new_event_loop()
    loop.call_soon(int)
    loop._run_once()

    assert loop._scheduled == []
    loop.close()


class Failing:
    """A listener that wants the lag, and fails each time."""

    threshold_s = 10.0
    heartbeat_interval_s = 0.005
    watchdog = False
    saturation_s = 0.0
    samples = False
    max_samples = 1

    def lag_measured(self, monitor, lag_s):
        raise RuntimeError("no lag today")

    def callback_running(self, monitor, started, now):
        """Nothing."""


def test_listener_that_fails_takes_the_lag_from_no_other(telemetry, run):
    failing = Failing()
    runtime.add(failing)  # it is told first
    try:
        telemetry.instrument(heartbeat_interval_ms=5)
        run(_pause())
    finally:
        runtime.remove(failing)

    assert _beats(telemetry) >= 5
    assert guard.failures.pop("measure the lag of a loop") >= 5


@pytest.mark.parametrize(("speed", "measured"), [(1.0, True), (2.0, False), (0.0, False)])
def test_clock_of_a_loop_that_nothing_hooks_is_compared_with_the_real_one(telemetry, speed, measured):
    class Unhooked(uvloop.loop.Loop, asyncio.AbstractEventLoop):
        def time(self):
            return speed * time.monotonic()

    telemetry.instrument(heartbeat_interval_ms=5)

    async def main():
        with telemetry.tracer.start_as_current_span("first"):
            await asyncio.sleep(0.01)  # a span that ends tells that this loop exists
        await asyncio.sleep(0.3)

    loop = Unhooked()
    loop.run_until_complete(main())
    loop.close()

    assert (_beats(telemetry) >= 5) == measured
