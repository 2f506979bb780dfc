"""``report="log"``: the OpenTelemetry log event that takes the span event's place."""

from __future__ import annotations

import asyncio
import time

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor


def stall():
    time.sleep(0.05)


@pytest.mark.parametrize("report", ["log", "all"])
def test_log_event_has_the_attributes_and_the_trace_of_the_request(telemetry, run, report):
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    telemetry.instrument(report=report, logger_provider=provider)

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            await asyncio.sleep(0.01)
            stall()

    before = time.time_ns()
    run(main())

    (request,) = telemetry.spans("GET /x")
    ours = [data.log_record for data in exporter.get_finished_logs() if data.log_record.event_name]
    (record,) = [each for each in ours if each.trace_id == request.context.trace_id]
    assert record.event_name == "event_loop.blocked"
    assert record.span_id == request.context.span_id
    assert before < record.timestamp < time.time_ns()
    assert record.attributes["code.function.name"] == f"{__name__}.stall"
    assert record.attributes["event_loop.block.call"] == "time.sleep"
    assert record.body.startswith("event loop blocked ")
    assert "code.stacktrace" in record.attributes
    assert len(request.events) == (1 if report == "all" else 0)
    if report == "all":
        own = [span for span in telemetry.spans("event_loop.blocked") if span.parent == request.context]
        assert [dict(span.attributes) for span in own] == [{"event_loop.blocked": True, **record.attributes}]
        assert request.events[0].attributes.items() <= record.attributes.items()
