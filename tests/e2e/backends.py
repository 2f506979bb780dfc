"""What Jaeger and Prometheus answer, over their public HTTP interfaces."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import httpx


@dataclass(frozen=True)
class Span:
    """A span as Jaeger gives it back."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Any
    started_unix_ns: int
    ended_unix_ns: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    links: list[tuple[str, str]]

    @property
    def duration_s(self) -> float:
        return (self.ended_unix_ns - self.started_unix_ns) / 1e9

    def event(self, name: str) -> dict[str, Any] | None:
        """The event of that name that tells of the longest time; others are those of a busy machine."""
        named = [attributes for found, attributes in self.events if found == name]
        return max(named, key=_seconds, default=None)


def _seconds(event: dict[str, Any]) -> float:
    return event.get("event_loop.block.duration") or event.get("event_loop.delay.max") or 0.0


class Jaeger:
    """Jaeger's query interface, ``/api/v3``: OTLP in JSON."""

    def __init__(self, url: str) -> None:
        self.url = url

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace; none while Jaeger does not have it."""
        answer = httpx.get(f"{self.url}/api/v3/traces/{trace_id}", timeout=10)
        return [] if answer.status_code == 404 else _spans(answer.raise_for_status().json())

    def find(self, service: str, operation: str, limit: int = 100) -> list[Span]:
        """All spans of the traces that have a span of that name, of the last hour; of ``limit`` traces."""
        now = time.time()
        answer = httpx.get(
            f"{self.url}/api/v3/traces",
            params={
                "query.service_name": service,
                "query.operation_name": operation,
                "query.start_time_min": _rfc3339(now - 3600),
                "query.start_time_max": _rfc3339(now + 60),
                "query.num_traces": str(limit),
            },
            timeout=10,
        )
        return [] if answer.status_code == 404 else _spans(answer.raise_for_status().json())

    def search(
        self, service: str, *, operation: str = "", tags: dict[str, str] | None = None, min_duration: str = ""
    ) -> dict[str, list[dict[str, Any]]]:
        """Traces of the last hour by id, their spans in Jaeger's own form: what the search page asks."""
        now_us = int(time.time() * 1e6)
        asked = {
            "service": service,
            "operation": operation,
            "tags": json.dumps(tags) if tags else "",
            "minDuration": min_duration,
            "start": now_us - 3_600_000_000,
            "end": now_us + 60_000_000,
            "limit": 200,
            "lookback": "1h",
        }
        parameters = {name: value for name, value in asked.items() if value != ""}
        answer = httpx.get(f"{self.url}/api/traces", params=parameters, timeout=10).raise_for_status()
        return {trace["traceID"]: trace["spans"] for trace in answer.json()["data"]}


class Prometheus:
    """Prometheus's ``/api/v1``."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.name = name

    def query(self, expression: str) -> list[dict[str, Any]]:
        return self._get("query", query=expression)["result"]

    def value(self, expression: str) -> float | None:
        """The highest value of all series; ``None`` if there is none."""
        return max((float(series["value"][1]) for series in self.query(expression)), default=None)

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        now = time.time()
        found = self._get("query_exemplars", query=expression, start=now - 3600, end=now + 60)
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def metric_names(self) -> set[str]:
        return set(self._get("label/__name__/values"))

    def targets(self) -> dict[str, str]:
        """Health of each scrape job."""
        return {t["labels"]["job"]: t["health"] for t in self._get("targets")["activeTargets"]}

    def _get(self, what: str, **parameters: object) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=10)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]


def _rfc3339(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _spans(body: dict[str, Any]) -> list[Span]:
    return [
        Span(
            trace_id=span["traceId"],
            span_id=span["spanId"],
            parent_id=span.get("parentSpanId", ""),
            name=span["name"],
            kind=span.get("kind"),
            started_unix_ns=int(span["startTimeUnixNano"]),
            ended_unix_ns=int(span["endTimeUnixNano"]),
            attributes=_attributes(span),
            events=[(event["name"], _attributes(event)) for event in span.get("events", [])],
            links=[(link["traceId"], link["spanId"]) for link in span.get("links", [])],
        )
        for resource in body["result"]["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def _attributes(holder: dict[str, Any]) -> dict[str, Any]:
    return {item["key"]: _value(item["value"]) for item in holder.get("attributes", [])}


def _value(value: dict[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return int(content) if kind == "intValue" else content
