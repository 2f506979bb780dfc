"""Takes the service's messages as they come, and tells the ledger what it must know of them.

Under load many spans are of no interest: they are looked at, not decoded.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Container, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_loopblock.emit.attributes import BLOCKED, DELAYED
from otel_loopblock.local.decode import decode_metric, decode_span
from otel_loopblock.local.otlp_server import Refused
from otel_loopblock.local.telemetry import Span
from otel_loopblock.run.ledger import Block, Found, Ledger
from otel_loopblock.run.sending import STARTED

RECENT = 4000
"""Spans that are kept as they came: one of them may belong to the trace of a block that is told of later."""
KEPT_SPANS = 200
"""Of each trace that is kept for the waterfall."""
NEW_BLOCKS = 1000
"""Blocks between two looks."""

_TRACES, _METRICS = "/v1/traces", "/v1/metrics"


@dataclass(frozen=True, slots=True)
class Look:
    """What is known at one moment."""

    found: Found
    lag_now: tuple[float, float] | None
    """Seconds that 99 % of the lags of the last seconds keep, and the mean; ``None``: no loop ran."""
    ongoing_s: float
    """How long the callback that is running now has been over the threshold; 0: none is."""


class Intake:
    """What the server hands messages to; one at a time goes on to the ledger.

    Args:
        ledger: is told.
    """

    paths: Container[str] = frozenset({_TRACES, _METRICS, STARTED})

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = Lock()
        self._recent: deque[tuple[bytes, Any, str]] = deque(maxlen=RECENT)
        self._kept: OrderedDict[bytes, list[Span]] = OrderedDict()
        self._new: deque[Block] = deque(maxlen=NEW_BLOCKS)
        self._worst = (False, 0.0)
        self.worst_trace: str | None = None
        """The trace of the longest block; of one that belongs to a request, if there is one."""

    def take(self, path: str, body: bytes, sender: str) -> None:
        """Take a message."""
        if path == _TRACES:
            traces = ExportTraceServiceRequest.FromString(body)
            with self._lock:
                self._take_spans(traces)
        elif path == _METRICS:
            metrics = ExportMetricsServiceRequest.FromString(body)
            found = [
                decode_metric(metric, scope.scope.name, {})
                for resource in metrics.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                if metric.name.startswith("event_loop.") and metric.WhichOneof("data") is not None
            ]
            with self._lock:
                self._ledger.add_metrics(sender, found)
        else:
            with self._lock:
                self._ledger.add_process(sender)

    def ask(self, query: str) -> Any:
        """Nobody is answered."""
        raise Refused(404, f"no such query: /{query}", closes=False)

    def reset(self) -> None:
        """Nobody makes it forget."""
        raise Refused(404, "no such path: /reset", closes=False)

    def look(self, most: int | None = None) -> Look:
        """What is known, and what is going on now; ``most`` as for :meth:`Ledger.found`."""
        with self._lock:
            return Look(self._ledger.found(most), self._ledger.lag_now(), self._ledger.ongoing_s())

    def new_blocks(self) -> list[Block]:
        """The blocks that came since this was asked last, as far as they are kept."""
        with self._lock:
            new = list(self._new)
            self._new.clear()
        return new

    def worst_spans(self) -> list[Span]:
        """The spans of the trace of the longest block, and of a request that waited for it."""
        with self._lock:
            return [span for spans in self._kept.values() for span in spans]

    def _take_spans(self, request: Any) -> None:
        telling: list[Span] = []
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                name = scope.scope.name
                for span in scope.spans:
                    self._recent.append((span.trace_id, span, name))
                    kept = self._kept.get(span.trace_id)
                    tells = span.name == BLOCKED or any(
                        event.name in (BLOCKED, DELAYED) for event in span.events
                    )
                    if tells or kept is not None:
                        decoded = decode_span(span, name, {})
                        if kept is not None and len(kept) < KEPT_SPANS:
                            kept.append(decoded)
                        if tells:
                            telling.append(decoded)
        for span in telling:
            for block in self._ledger.add_span(span):
                self._new.append(block)
                in_request = span.name != BLOCKED or span.parent_span_id is not None
                if (in_request, block.duration_s) > self._worst and not block.ongoing:
                    self._worst = in_request, block.duration_s
                    self._keep_worst(span.trace_id)
        if self.worst_trace is not None and len(self._kept) == 1:
            self._keep_victim(self.worst_trace, telling)

    def _keep_worst(self, trace_id: str) -> None:
        self.worst_trace = trace_id
        self._kept.clear()
        self._keep(bytes.fromhex(trace_id))
        waited = [
            decode_span(span, name, {})
            for _, span, name in self._recent
            if any(event.name == DELAYED for event in span.events)
        ]
        self._keep_victim(trace_id, waited)

    def _keep_victim(self, trace_id: str, candidates: Iterable[Span]) -> None:
        waits = [
            (delay_s, span.trace_id)
            for span in candidates
            for delay_s, culprit in self._ledger.delays_of(span)
            if culprit == trace_id and span.trace_id != trace_id
        ]
        if waits:
            self._keep(bytes.fromhex(max(waits)[1]))

    def _keep(self, trace_id: bytes) -> None:
        self._kept[trace_id] = [
            decode_span(span, name, {}) for of, span, name in self._recent if of == trace_id
        ][:KEPT_SPANS]
