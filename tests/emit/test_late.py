"""Attributes that come later: worked out by whoever reads them, on events that are otherwise the SDK's."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from opentelemetry.sdk.trace import Event, SpanLimits, TracerProvider

from otel_loopblock import guard
from otel_loopblock.emit.events import add_event
from otel_loopblock.emit.late import LateAttributes
from otel_loopblock.explain.explainer import Explainer

ATTRIBUTES = {"event_loop.block.duration": 0.5, "event_loop.block.cause": "wait", "code.line.number": 7}


class Counted:
    """Makes attributes, and counts how often."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return ATTRIBUTES


def span_of(**limits):
    return TracerProvider(span_limits=SpanLimits(**limits)).get_tracer("test").start_span("GET /")


def test_attributes_are_worked_out_when_read_and_once_for_all_events():
    work = Counted()
    late = LateAttributes(work)
    tracer = TracerProvider().get_tracer("test")
    spans = [tracer.start_span("GET /") for _ in range(3)]
    for number, span in enumerate(spans):
        add_event(span, "event_loop.delayed", late, 1000 + number)
        span.end()
    assert work.times == 0

    read = [span.events[0] for span in spans]

    assert [dict(event.attributes) for event in read] == [ATTRIBUTES] * 3
    assert [(event.name, event.timestamp) for event in read] == [
        ("event_loop.delayed", 1000),
        ("event_loop.delayed", 1001),
        ("event_loop.delayed", 1002),
    ]
    assert all(isinstance(event, Event) for event in read)
    assert work.times == 1


@pytest.mark.parametrize(
    ("limits", "expected", "dropped"),
    [
        ({"max_event_attributes": 2}, {"event_loop.block.cause": "wait", "code.line.number": 7}, 1),
        ({"max_attribute_length": 2}, ATTRIBUTES | {"event_loop.block.cause": "wa"}, 0),
    ],
)
def test_users_limits_of_events_hold(limits, expected, dropped):
    early, late = span_of(**limits), span_of(**limits)
    early.add_event("event_loop.blocked", ATTRIBUTES, 1000)
    add_event(late, "event_loop.blocked", LateAttributes(Counted()), 1000)

    assert dict(late.events[0].attributes) == dict(early.events[0].attributes) == expected
    assert late.events[0].dropped_attributes == early.events[0].dropped_attributes == dropped


def test_spans_with_other_limits_may_share_attributes():
    late = LateAttributes(Counted())
    wide, narrow = span_of(), span_of(max_event_attributes=1)
    for span in (wide, narrow):
        add_event(span, "event_loop.delayed", late, 1000)

    lengths = [len(span.events[0].attributes) for span in (wide, narrow, wide)]

    assert lengths == [3, 1, 3]


def test_failure_to_work_them_out_leaves_an_event_without_and_is_counted():
    guard.failures.clear()
    span = span_of()
    add_event(span, "event_loop.blocked", LateAttributes(lambda: 1 / 0), 1000)

    assert dict(span.events[0].attributes) == {}
    assert dict(span.events[0].attributes) == {}
    assert guard.failures["describe a block"] == 1
    guard.failures.clear()


def test_no_block_is_explained_on_the_loops_thread(telemetry, run, monkeypatch):
    explained_on = []
    explain = Explainer.explain

    def note(*args):
        explained_on.append(threading.current_thread().name)
        return explain(*args)

    monkeypatch.setattr(Explainer, "explain", note)
    telemetry.instrument()

    async def main():
        for _ in range(3):
            with telemetry.tracer.start_as_current_span("GET /x"):
                await asyncio.sleep(0)
                time.sleep(0.03)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        time.sleep(0.03)  # under no span: it gets one of its own

    run(main())

    assert len(telemetry.events()) == 3
    assert len(telemetry.spans("event_loop.blocked")) == 1
    assert set(explained_on[:3]) == {"otel-loopblock-worker"}


# -- many at once --------------------------------------------------------------------------------------------
