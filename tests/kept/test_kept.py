"""A thread keeps the GIL while the loop wants to run: the line is told, and on whose behalf it ran."""

from __future__ import annotations

import asyncio
import threading
import time
from _thread import get_native_id

import pytest
from opentelemetry import trace

from otel_loopblock import core
from otel_loopblock.emit.context import span_read_from
from tests.causes.culprits import parsing
from tests.kept.stops import stop_all
from tests.kept.trial import HOLDERS, NEW_LOOP, hold_all, score

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(core.NAME == "pure", reason="its watchdog needs the GIL to fall asleep"),
    pytest.mark.skipif(core.scheduling(get_native_id()) is None, reason="the kernel counts nothing"),
]


@pytest.mark.parametrize("loop_type", NEW_LOOP)
@pytest.mark.parametrize("way", ["to_thread", "def endpoint", "own thread"])
def test_line_that_kept_the_gil_is_told_on_the_span_that_it_worked_for(loop_type, way):
    holds, _ = hold_all(loop_type, way, list(HOLDERS), 2, shortest_s=0.05, longest_s=0.1)

    found = score(holds)
    assert found.holds == 8
    assert found.blamed == 0
    assert found.twice <= 1
    # A machine that is busy may have the loop want to run only when it is over.
    assert min(found.reported, found.lined, found.placed) >= 7


@pytest.mark.parametrize("loop_type", NEW_LOOP)
def test_loop_that_is_idle_but_for_the_heartbeat_tells_too(loop_type):
    holds, _ = hold_all(
        loop_type,
        "to_thread",
        list(HOLDERS),
        2,
        beside="heartbeat",
        shortest_s=0.2,
        longest_s=0.25,
    )

    found = score(holds)
    assert found.blamed == 0
    assert min(found.reported, found.lined, found.placed) >= 7


@pytest.mark.parametrize("beside", ["heartbeat", "ticker"])
@pytest.mark.parametrize("loop_type", NEW_LOOP)
def test_process_that_was_stopped_is_told_once_without_a_culprit(loop_type, beside):
    told = stop_all(loop_type, beside, 5, stopped_s=0.16)

    assert max(map(len, told)) <= 1
    assert sum(map(len, told)) >= 4
    reports = [report for reports in told for report in reports]
    assert {report.cause for report in reports} == {"descheduled"}
    # One may have come while a callback ran: its block says where it was, and that it is not the code.
    assert sum("code.function.name" in report.attributes for report in reports) <= 1


def test_request_that_waited_links_to_the_one_whose_thread_kept_the_gil(telemetry, run):
    telemetry.instrument()

    async def other():
        with telemetry.tracer.start_as_current_span("other"):
            for _ in range(20):
                await asyncio.sleep(0.005)

    async def main():
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.05) for _ in range(2)))
        with parsing(0.1) as block:
            waits = asyncio.ensure_future(other())
            await asyncio.sleep(0.02)
            with telemetry.tracer.start_as_current_span("offloads"):
                await asyncio.to_thread(_after_a_moment, block)
            await waits

    run(main())

    (offloads,) = telemetry.spans("offloads")
    (waited,) = telemetry.spans("other")
    kept = [event for event in offloads.events if event.name == "event_loop.blocked"]
    assert kept[0].attributes["event_loop.block.cause"] == "gil_contention"
    assert kept[0].attributes["event_loop.block.call"] == "json.loads"
    assert "process pool" in kept[0].attributes["event_loop.block.advice"]
    delayed = [event for event in waited.events if event.name == "event_loop.delayed"]
    assert delayed
    assert delayed[0].attributes["event_loop.delay.culprit.cause"] == "gil_contention"
    assert offloads.context.span_id in {link.context.span_id for link in waited.links}
    causes = {
        point.attributes["event_loop.block.cause"] for point in telemetry.points("event_loop.block.duration")
    }
    assert "gil_contention" in causes


def _after_a_moment(block):
    time.sleep(0.001)  # the loop is in its selector by then
    block()


def test_context_of_a_thread_is_that_which_it_runs_in(telemetry):
    begun, over, context = threading.Event(), threading.Event(), {}

    def wait():
        with telemetry.tracer.start_as_current_span("there"):
            context["id"] = trace.get_current_span().get_span_context().span_id
            begun.set()
            over.wait()

    telemetry.instrument()
    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    try:
        assert span_read_from(core.thread_context(thread.ident)).get_span_context().span_id == context["id"]
    finally:
        over.set()
        thread.join()
    assert core.thread_context(thread.ident) is None
