"""Instrumenting is all or nothing."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest
import uvloop
from opentelemetry.sdk.trace import Span

from otel_loopblock import LoopBlockInstrumentor, guard
from otel_loopblock.testing import detect_blocking
from otel_loopblock.watch.monitor import listeners

STEPS = {
    "advice": "otel_loopblock.explain.advice.AdviceTable.load_entry_points",
    "hooks on spans": "otel_loopblock.emit.emitter.Emitter.begin",
    "hooks": "otel_loopblock.hooks.Hooks.install",
    "last hook": "otel_loopblock.hooks.patches.Patches.when_imported",
    "running loop": "otel_loopblock.hooks.Hooks.cover",
    "watchdog": "otel_loopblock.watch.watchdog.Watchdog.start",
    "heartbeat": "otel_loopblock.hooks.Hooks.beat",
}
each_step = pytest.mark.parametrize("step", STEPS)


def in_place():
    """All that instrumenting changes in the process."""
    places = (asyncio.Handle, "_run"), (asyncio.BaseEventLoop, "run_forever"), (Span, "end"), (Span, "start")
    attributes = [vars(kind)[name] for kind, name in places]
    return attributes, dict(vars(uvloop.Loop)), list(sys.meta_path), listeners.now


def instrument_failing(telemetry, monkeypatch, step, error):
    """Instrument within a running loop while one step raises."""

    def fail(*args):
        raise error

    async def main():
        telemetry.instrument(heartbeat_interval_ms=5)

    with monkeypatch.context() as patched:
        patched.setattr(STEPS[step], fail)
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()


@each_step
def test_failure_leaves_nothing_and_is_not_the_applications(telemetry, monkeypatch, step):
    before = in_place()
    instrument_failing(telemetry, monkeypatch, step, RuntimeError("injected"))

    assert in_place() == before
    assert guard.failures["instrument"] == 1
    guard.failures.clear()
    LoopBlockInstrumentor().uninstrument()
    assert in_place() == before


@each_step
def test_interrupt_leaves_nothing_and_goes_up(telemetry, monkeypatch, step):
    before = in_place()
    with pytest.raises(KeyboardInterrupt):
        instrument_failing(telemetry, monkeypatch, step, KeyboardInterrupt)

    assert in_place() == before
    assert not LoopBlockInstrumentor().is_instrumented_by_opentelemetry


def test_instrumenting_works_after_it_has_failed(telemetry, monkeypatch, run):
    instrument_failing(telemetry, monkeypatch, "hooks", RuntimeError("injected"))
    assert guard.failures.pop("instrument") == 1
    telemetry.instrument(threshold_ms=10)

    async def main():
        with telemetry.tracer.start_as_current_span("GET /"):
            time.sleep(0.03)

    run(main())

    assert [name for name, _ in telemetry.events()] == ["GET /"]


def test_step_that_fails_keeps_no_other_from_being_undone(telemetry, monkeypatch):
    before = in_place()
    telemetry.instrument()
    release = LoopBlockInstrumentor()._emitter.release_spans
    with monkeypatch.context() as patched:
        patched.setattr("otel_loopblock.emit.emitter.Emitter.release_spans", lambda emitter: emitter.nothing)
        LoopBlockInstrumentor().uninstrument()
    release()

    assert in_place() == before
    assert guard.failures.pop("uninstrument") == 1


def test_detection_that_cannot_begin_leaves_nothing(monkeypatch):
    before = in_place()
    with monkeypatch.context() as patched:
        patched.setattr(STEPS["hooks"], lambda hooks: hooks.nothing)
        with pytest.raises(AttributeError, match="nothing"), detect_blocking():
            pass

    assert in_place() == before
