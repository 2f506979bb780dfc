"""OTLP's protobuf messages into the records of :mod:`otel_loopblock.local.telemetry`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_loopblock.local.telemetry import (
    Attributes,
    AttributeValue,
    Event,
    Exemplar,
    Link,
    LogRecord,
    Metric,
    Point,
    Span,
)

Name = TypeVar("Name")

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES = ("UNSET", "OK", "ERROR")
_TEMPORALITIES = (None, "delta", "cumulative")


def decode_traces(body: bytes) -> list[Span]:
    """The spans of an ``ExportTraceServiceRequest``."""
    request = ExportTraceServiceRequest.FromString(body)
    return [
        decode_span(span, scope.scope.name, _attributes(resource.resource.attributes))
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def decode_span(span: Any, scope: str, resource: Attributes) -> Span:
    """One span of a message.

    Args:
        span: as protobuf has it.
        scope: name of its instrumentation scope.
        resource: attributes of its resource.
    """
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=_named(_KINDS, span.kind),
        start_unix_ns=span.start_time_unix_nano,
        end_unix_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=tuple(
            Event(
                name=event.name,
                time_unix_ns=event.time_unix_nano,
                attributes=_attributes(event.attributes),
            )
            for event in span.events
        ),
        links=tuple(
            Link(
                trace_id=link.trace_id.hex(),
                span_id=link.span_id.hex(),
                attributes=_attributes(link.attributes),
            )
            for link in span.links
        ),
        status=_named(_STATUSES, span.status.code),
        status_message=span.status.message,
        dropped_events=span.dropped_events_count,
        scope=scope,
        resource=resource,
    )


def decode_metrics(body: bytes) -> list[Metric]:
    """The metrics of an ``ExportMetricsServiceRequest``."""
    request = ExportMetricsServiceRequest.FromString(body)
    return [
        decode_metric(metric, scope.scope.name, _attributes(resource.resource.attributes))
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.WhichOneof("data") is not None
    ]


def decode_logs(body: bytes) -> list[LogRecord]:
    """The log records of an ``ExportLogsServiceRequest``."""
    request = ExportLogsServiceRequest.FromString(body)
    return [
        LogRecord(
            event_name=record.event_name,
            body=_value(record.body),
            severity_text=record.severity_text,
            severity_number=record.severity_number,
            time_unix_ns=record.time_unix_nano or record.observed_time_unix_nano,
            attributes=_attributes(record.attributes),
            trace_id=record.trace_id.hex() or None,
            span_id=record.span_id.hex() or None,
            scope=scope.scope.name,
            resource=_attributes(resource.resource.attributes),
        )
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def decode_metric(metric: Any, scope: str, resource: Attributes) -> Metric:
    """One metric of a message, which has points; as :func:`decode_span`."""
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    return Metric(
        name=metric.name,
        kind=kind,
        unit=metric.unit,
        description=metric.description,
        temporality=_named(_TEMPORALITIES, getattr(data, "aggregation_temporality", 0)),
        monotonic=data.is_monotonic if kind == "sum" else None,
        points=tuple(_point(point) for point in data.data_points),
        scope=scope,
        resource=resource,
    )


def _named(names: Sequence[Name], number: int) -> Name:
    """The name of a value of an enumeration; protobuf lets any number through, negative ones too."""
    if not 0 <= number < len(names):
        raise ValueError(f"{number} is not one of the {len(names)} values of an enumeration")
    return names[number]


def _point(point: Any) -> Point:
    return Point(
        attributes=_attributes(point.attributes),
        start_unix_ns=point.start_time_unix_nano,
        time_unix_ns=point.time_unix_nano,
        value=_number(point),
        count=getattr(point, "count", 0),
        sum=getattr(point, "sum", 0.0),
        min=_optional(point, "min"),
        max=_optional(point, "max"),
        bounds=tuple(getattr(point, "explicit_bounds", ())),
        bucket_counts=tuple(getattr(point, "bucket_counts", ())),
        exemplars=tuple(
            Exemplar(
                value=_number(exemplar) or 0.0,
                time_unix_ns=exemplar.time_unix_nano,
                trace_id=exemplar.trace_id.hex() or None,
                span_id=exemplar.span_id.hex() or None,
                attributes=_attributes(exemplar.filtered_attributes),
            )
            for exemplar in getattr(point, "exemplars", ())
        ),
    )


def _number(message: Any) -> float | int | None:
    """``as_int`` or ``as_double``, whichever was sent; a histogram's point has neither."""
    if "value" not in message.DESCRIPTOR.oneofs_by_name:
        return None
    kind = message.WhichOneof("value")
    return None if kind is None else getattr(message, kind)


def _optional(message: Any, name: str) -> float | None:
    if name not in message.DESCRIPTOR.fields_by_name or not message.HasField(name):
        return None
    value: float = getattr(message, name)
    return value


def _attributes(pairs: Iterable[Any]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> AttributeValue:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return tuple(_value(item) for item in value.array_value.values)
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
        case kind:
            return getattr(value, kind)
