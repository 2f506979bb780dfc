"""What an OTLP receiver got, as plain frozen records: spans, metrics, logs.

The records travel as JSON from the receiver's process to its client; :func:`from_json` makes them again.
This module knows neither protobuf nor HTTP.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

AttributeValue = Any
"""``str``, ``bool``, ``int``, ``float``, a ``tuple`` or a mapping of these; ``bytes`` arrive as hex."""

Attributes = Mapping[str, AttributeValue]
"""In the order in which they were sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event on a span."""

    name: str
    time_unix_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A span's link to another span."""

    trace_id: str
    span_id: str
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A finished span; ids are lower-case hex."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: str
    """``INTERNAL``, ``SERVER``, ``CLIENT``, ``PRODUCER`` or ``CONSUMER``."""
    start_unix_ns: int
    end_unix_ns: int
    attributes: Attributes
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    status: str
    """``UNSET``, ``OK`` or ``ERROR``."""
    status_message: str
    dropped_events: int
    scope: str
    """Name of the instrumentation scope."""
    resource: Attributes

    @property
    def duration_s(self) -> float:
        """From start to end, in seconds."""
        return (self.end_unix_ns - self.start_unix_ns) / 1e9

    def events_named(self, name: str) -> tuple[Event, ...]:
        """Its events of one name."""
        return tuple(event for event in self.events if event.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplar:
    """One measurement with the trace it was made in."""

    value: float
    time_unix_ns: int
    trace_id: str | None
    span_id: str | None
    attributes: Attributes
    """Those that the aggregation dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One data point: ``value`` for sums and gauges, the rest from ``count`` on for histograms."""

    attributes: Attributes
    start_unix_ns: int
    time_unix_ns: int
    value: float | int | None
    count: int
    sum: float
    min: float | None
    max: float | None
    bounds: tuple[float, ...]
    """Upper bounds of all buckets but the last, which has none."""
    bucket_counts: tuple[int, ...]
    exemplars: tuple[Exemplar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of one export: the same metric comes again with every collection."""

    name: str
    kind: str
    """``gauge``, ``sum``, ``histogram``, ``exponential_histogram`` or ``summary``."""
    unit: str
    description: str
    temporality: str | None
    """``delta`` or ``cumulative``; ``None`` for a gauge."""
    monotonic: bool | None
    """For sums only."""
    points: tuple[Point, ...]
    scope: str
    resource: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """A log record, or a log event if ``event_name`` is not empty."""

    event_name: str
    body: AttributeValue
    severity_text: str
    severity_number: int
    time_unix_ns: int
    attributes: Attributes
    trace_id: str | None
    span_id: str | None
    scope: str
    resource: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many records came in since the start or the last reset, those since dropped included."""

    spans: int = 0
    metrics: int = 0
    logs: int = 0


Record = TypeVar("Record")


def from_json(record_type: type[Record], value: Mapping[str, Any]) -> Record:
    """Make a record again from what ``dataclasses.asdict`` and JSON made of it."""
    converters = _converters(typing.cast("typing.Hashable", record_type))
    return record_type(**{name: convert(value[name]) for name, convert in converters})


@cache
def _converters(record_type: Any) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    hints = typing.get_type_hints(record_type)
    found = []
    for field in dataclasses.fields(record_type):
        hint = hints[field.name]
        item = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None
        if dataclasses.is_dataclass(item):
            found.append((field.name, _many(typing.cast("type", item))))
        else:
            found.append((field.name, _tuples))
    return tuple(found)


def _many(record_type: type) -> Callable[[Any], Any]:
    def convert(values: Any) -> Any:
        return tuple(from_json(record_type, value) for value in values)

    return convert


def _tuples(value: Any) -> Any:
    """JSON has lists only; records are immutable."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
