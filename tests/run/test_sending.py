"""What a service's processes send to the command: traces that tell something, and all of these."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_loopblock.run import sending
from tests.run.running import free_port


class Line:
    def __init__(self) -> None:
        self.names: list[str] = []

    def send(self, path: str, body: bytes) -> bool:
        request = ExportTraceServiceRequest.FromString(body)
        scopes = [scope for resource in request.resource_spans for scope in resource.scope_spans]
        self.names += [span.name for scope in scopes for span in scope.spans]
        return True


def test_spans_of_a_telling_trace_are_sent_and_no_others():
    line = Line()
    provider = TracerProvider()
    sender = sending.SpanSender(line)  # type: ignore[arg-type]
    provider.add_span_processor(SimpleSpanProcessor(sender))
    tracer = provider.get_tracer("test")
    tracer.start_span("innocent").end()
    with tracer.start_as_current_span("request"):
        tracer.start_span("before").end()
        trace.get_current_span().add_event("event_loop.blocked")
        tracer.start_span("event_loop.blocked").end()
        tracer.start_span("after").end()
    assert line.names == ["before", "event_loop.blocked", "after", "request"]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(sending, "HELD", 10)
    sender = sending.SpanSender(Line())  # type: ignore[arg-type]
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(sender))
    tracer = provider.get_tracer("test")
    for _ in range(50):
        tracer.start_span("innocent").end()
        tracer.start_span("event_loop.blocked").end()
    assert len(sender._telling) == 10
    assert len(sender._held) <= 10


def test_command_that_has_gone_is_no_error():
    assert sending.Line(free_port()).send("/v1/traces", b"") is False
