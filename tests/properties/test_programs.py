"""Random programs on a virtual clock: the package reports what the model says, block for block."""

from __future__ import annotations

import os
import sys
import types

import opentelemetry.sdk.trace
import pytest
from hypothesis import HealthCheck, example, given, note, settings

import otel_loopblock.core
from otel_loopblock import LoopBlockInstrumentor, guard
from otel_loopblock.core import pure
from otel_loopblock.watch import loops as loops_module
from otel_loopblock.watch.monitor import Monitor
from tests.conftest import Telemetry
from tests.properties.model import THRESHOLD, TICK_NS, Report, blocked_ticks, reports
from tests.properties.programs import (
    SLOTS,
    Attach,
    Block,
    Clock,
    Close,
    InThread,
    Notes,
    Open,
    Program,
    Sleep,
    Span,
    programs,
    run_in_thread,
)

EXAMPLES = int(os.environ.get("LOOPBLOCK_EXAMPLES", "0"))
"""How many programs for each loop; set it for more than the suite's, and other ones each time."""

THOROUGH = settings(
    max_examples=EXAMPLES or 100,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def clock():
    """All that the package and the SDK read of time; the twin in Python times, as C reads clocks itself."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("Run", "Scheduler", "Method", "unwrap"):
            patch.setattr(otel_loopblock.core, name, getattr(pure, name))
        patch.setattr(loops_module, "Monitor", _twin())
        for name, module in list(sys.modules.items()):
            for function in (clock.perf_counter, clock.time_ns):
                if name.startswith("otel_loopblock.") and hasattr(module, function.__name__):
                    patch.setattr(module, function.__name__, function)
        patch.setattr(opentelemetry.sdk.trace, "time_ns", clock.time_ns)
        yield clock


def _twin() -> type:
    """The monitor, with the twin in Python below it."""
    own = {name: each for name, each in vars(Monitor).items() if type(each) is not types.MemberDescriptorType}
    own.pop("__weakref__", None)
    return type("Monitor", (pure.Monitor,), own)


def _made(telemetry: Telemetry) -> list[Report]:
    """What the package has reported."""
    found: list[Report] = []
    for span in telemetry.spans():
        if span.name == "event_loop.blocked":
            parent = span.parent.span_id if span.parent is not None else 0
            rounded_s = round((span.end_time - span.start_time) / 1e9, 6)
            lasted_s = span.attributes["event_loop.block.duration"]
            assert lasted_s == rounded_s or (parent and lasted_s > rounded_s)  # it lies within its parent
            found.append(_report("span", parent, span.start_time, span.attributes))
        found += [
            _report("event", span.get_span_context().span_id, event.timestamp, event.attributes)
            for event in span.events
            if event.name == "event_loop.blocked"
        ]
    return sorted(found)


def _report(form, span, unix_ns, attributes) -> Report:
    wall, inexact = divmod(unix_ns, TICK_NS)
    seconds = attributes["event_loop.block.duration"]  # to the microsecond
    ticks = round(seconds * 512)
    assert not inexact
    assert seconds == round(ticks / 512, 6)
    return Report(form, span, wall, ticks)


def _check(kind: str, clock: Clock, program) -> None:
    guard.failures.clear()
    telemetry = Telemetry()
    notes = Notes(clock)
    telemetry.tracer_provider.add_span_processor(notes)
    telemetry.instrument(
        threshold_ms=THRESHOLD * TICK_NS / 1e6,
        watchdog=False,
        max_events_per_second=1e9,
        max_events_per_span=1000,
        log_interval_ms=1e9,
    )
    try:
        slots = [telemetry.tracer.start_span(f"slot {number}") for number in range(SLOTS)]
        # What is left of its context goes with its thread.
        run_in_thread(lambda: Program(kind, notes, telemetry.tracer, slots).run(program))
        for span in slots:
            if span.is_recording():
                span.end()
        made = _made(telemetry)
        points = telemetry.points("event_loop.block.duration")
    finally:
        LoopBlockInstrumentor().uninstrument()
        telemetry.meter_provider.shutdown()
    for callback in notes.callbacks:
        note(f"{callback}")
    blocked = blocked_ticks(notes.callbacks)
    expected = sorted(report for callback in notes.callbacks for report in reports(callback))
    note(f"reported and not expected: {sorted(set(made) - set(expected))}")
    note(f"expected and not reported: {sorted(set(expected) - set(made))}")
    assert made == expected
    assert sum(point.count for point in points) == len(blocked)
    assert sum(point.sum for point in points) * 512 == sum(blocked)
    assert not guard.failures, guard.failures


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
@THOROUGH
@given(program=programs())
@example(program=(Block(8), Span((Block(6),)), Close(0, -10)))  # ends before what an inner one has left
@example(program=(Block(8), Span((Block(6),)), Block(7), Close(0, -2), Close(1)))
@example(program=(Attach(0), Block(6), InThread((Block(5), Close(0), Sleep(1), Block(7))), Block(5)))
@example(program=(Open(0), Attach(0), Block(5), Close(0, 0, True)))  # left alone by that thread
def test_package_reports_what_the_model_says(clock, kind, program):
    _check(kind, clock, program)
