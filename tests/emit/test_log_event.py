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
    (record,) = ours
    assert record.event_name == "event_loop.blocked"
    assert record.trace_id == request.context.trace_id
    assert record.span_id == request.context.span_id
    assert before < record.timestamp < time.time_ns()
    assert record.attributes["code.function.name"] == f"{__name__}.stall"
    assert record.attributes["event_loop.block.call"] == "time.sleep"
    assert record.body.startswith("event loop blocked ")
    assert len(telemetry.events()) == (1 if report == "all" else 0)
    if report == "all":
        ((_, event),) = telemetry.events()
        assert dict(event.attributes) == dict(record.attributes)
