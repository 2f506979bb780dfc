"""The service of the tests with OpenTelemetry set up in code, as its documentation shows it."""

from __future__ import annotations

import os

from fastapi import FastAPI
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.run import service

app: FastAPI = service.app  # it is there before the providers are: the order that is harder

ENDPOINT = os.environ["OF_TEST_ENDPOINT"]
resource = Resource.create({"service.name": "set in code"})
provider = TracerProvider(resource=resource)
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{ENDPOINT}/v1/traces")))
trace.set_tracer_provider(provider)
reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{ENDPOINT}/v1/metrics"))
metrics.set_meter_provider(MeterProvider(metric_readers=[reader], resource=resource))
metrics.get_meter("app").create_counter("app.requests").add(1)
