"""A callback may end while the watchdog looks at it: what comes too late is not kept."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from types import SimpleNamespace

import pytest

from otel_loopblock.emit import emitter as emitters
from otel_loopblock.runtime import runtime
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import listeners
from otel_loopblock.watch.watchdog import WakeUp, Watchdog


def _is_reported(monitor):
    monitor.ended = monitor.started


def _is_gone(monitor):
    monitor.started = time.perf_counter()


@pytest.fixture(params=[_is_reported, _is_gone])
def ends(request):
    return request.param


@pytest.fixture
def within(telemetry, run):
    """Calls a function in a callback, with its monitor and what the emitter keeps of the loop."""
    telemetry.instrument()

    def within(function):
        async def main():
            await asyncio.sleep(0)
            monitor = loops.of(asyncio.get_running_loop())
            time.sleep(0.03)  # a block of its own: then the emitter keeps something of this loop
            await asyncio.sleep(0)
            runtime.watchdog.stop()  # it would look as well
            (running,) = monitor.state.values()
            assert running.search._queue is not None
            function(monitor, running)
            monitor.started = time.perf_counter()

        run(main())

    return within


def _elsewhere(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


def test_timers_found_too_late_are_not_kept(within, ends, monkeypatch):
    def look(monitor, running):
        (emitter,) = listeners.now
        started = monitor.started
        monkeypatch.setattr(type(running.search._queue), "upcoming", lambda self, until: ends(monitor) or [])
        _elsewhere(emitter.callback_running, monitor, started, started + 1.0)
        assert running.search.foreseen is None
        assert running.prefetched[0] != started

    within(look)


def test_requests_read_too_late_are_not_kept(within, ends, monkeypatch):
    def look(monitor, running):
        (emitter,) = listeners.now
        started = monitor.started
        monkeypatch.setattr("otel_loopblock.emit.emitter.prefetch", lambda timers: ends(monitor) or {})
        _elsewhere(emitter.callback_running, monitor, started, started + 1.0)
        assert running.prefetched[0] != started

    within(look)


def test_span_seen_too_late_is_not_kept(telemetry, within, ends, monkeypatch):
    def look(monitor, running):
        (emitter,) = listeners.now
        started = monitor.started
        found = emitters.running_elsewhere
        monkeypatch.setattr(emitters, "running_elsewhere", lambda monitor: (found(monitor), ends(monitor))[0])
        with telemetry.tracer.start_as_current_span("GET /"):
            _elsewhere(emitter.callback_running, monitor, started, started + 1.0)
        assert running.seen == []

    within(look)


def test_listener_is_not_told_of_a_callback_that_ended_meanwhile(within, ends, monkeypatch):
    def look(monitor, running):
        told = []
        listener = SimpleNamespace(callback_running=lambda *args: told.append(args))
        monkeypatch.setattr(listeners, "now", (listener,))
        watchdog = Watchdog()

        def tick():
            started = monitor.started
            now = started + 1.0
            _elsewhere(watchdog._look_at, monitor, started, WakeUp(now, now, now), 0.0, 0.0, None)

        tick()
        assert len(told) == 1

        # That reads a file, and gives up the GIL.
        monkeypatch.setattr(Watchdog, "_ask_limit", lambda self, watch, reading: ends(monitor))
        tick()
        assert len(told) == 1

    within(look)


def test_span_is_not_kept_after_its_block(telemetry, run):
    telemetry.instrument(threshold_ms=10)

    async def main():
        with telemetry.tracer.start_as_current_span("GET /") as span:
            seen = weakref.ref(span)
            await asyncio.sleep(0)
            time.sleep(0.05)
        del span
        await asyncio.sleep(0.05)
        (running,) = loops.of(asyncio.get_running_loop()).state.values()
        return seen, running

    seen, running = run(main())
    telemetry.spans()
    telemetry.exporter.clear()
    gc.collect()

    assert running.seen == []
    assert seen() is None
