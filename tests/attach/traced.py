"""The same application with OpenTelemetry set up in code, and each request a span; ``/spans`` has those."""

from __future__ import annotations

import json
import os

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.attach import service

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("test")

if os.environ.get("ALREADY"):
    from otel_loopblock import LoopBlockInstrumentor

    LoopBlockInstrumentor().instrument()


async def app(scope, receive, send):
    if scope["type"] != "http":
        await service.app(scope, receive, send)
    elif scope["path"] == "/spans":
        spans = [
            {"name": span.name, "attributes": dict(span.attributes)} for span in exporter.get_finished_spans()
        ]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(spans).encode()})
    else:
        with tracer.start_as_current_span(f"GET {scope['path']}", kind=trace.SpanKind.SERVER):
            await service.app(scope, receive, send)
