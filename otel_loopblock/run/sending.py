"""What sends a service's telemetry to the command that runs it; in the service's processes.

Not OpenTelemetry's own exporters: those obey the user's settings (headers, proxies, temporality, time-outs),
keep their connection over a fork, and try again for a minute after the command has gone. These try once.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from otel_loopblock.emit.attributes import BLOCKED, DELAYED
from otel_loopblock.local.otlp_server import SENDER_HEADER

TIMEOUT_S = 3.0
"""Of one message: a service that ends must not wait longer for us."""

INTERVAL_MS = 500
"""Between two messages with spans; twice as long for metrics: somebody looks on."""

HELD = 1024
"""Spans, and telling traces, that are remembered."""

STARTED = "/started"
"""Where a process says that it is there."""


class Line:
    """The connection of this process to the command; a process that is forked off opens its own.

    Args:
        port: where the command listens on the loopback interface.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._connection: HTTPConnection | None = None
        os.register_at_fork(after_in_child=self._forked)

    def send(self, path: str, body: bytes) -> bool:
        """Send a message; returns whether it was taken."""
        headers = {"Content-Type": "application/x-protobuf", SENDER_HEADER: str(os.getpid())}
        with self._lock:
            for fresh in (False, True):  # the other side may have closed a connection that rested
                try:
                    if self._connection is None or fresh:
                        self._connection = HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
                    self._connection.request("POST", path, body, headers)
                    answer = self._connection.getresponse()
                    answer.read()
                except (OSError, HTTPException):
                    self._connection = None
                    continue
                return answer.status == 200
        return False

    def _forked(self) -> None:
        self._lock = threading.Lock()
        self._connection = None  # the parent's; closing a socket here does not end it there


class SpanSender(SpanExporter):
    """Sends the spans of traces in which something was blocked or had to wait.

    The service shall not be slower than with any other exporter: to encode all the others would cost it most.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._telling: OrderedDict[int, None] = OrderedDict()
        self._held: deque[ReadableSpan] = deque(maxlen=HELD)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send those that are wanted, once; others are held for a while: their trace may become telling."""
        for span in spans:
            if span.name == BLOCKED or any(event.name in (BLOCKED, DELAYED) for event in span.events):
                self._telling[_trace_of(span)] = None
        while len(self._telling) > HELD:
            self._telling.popitem(last=False)
        candidates = (*self._held, *spans)
        wanted = [span for span in candidates if _trace_of(span) in self._telling]
        self._held.clear()
        self._held.extend(span for span in candidates if _trace_of(span) not in self._telling)
        if not wanted or self._line.send("/v1/traces", encode_spans(wanted).SerializeToString()):
            return SpanExportResult.SUCCESS
        return SpanExportResult.FAILURE


def _trace_of(span: ReadableSpan) -> int:
    return span.context.trace_id if span.context is not None else 0


class MetricSender(MetricExporter):
    """Sends metrics, cumulative whatever the environment prefers."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Send them, once."""
        sent = self._line.send("/v1/metrics", encode_metrics(metrics_data).SerializeToString())
        return MetricExportResult.SUCCESS if sent else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is kept back."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is to be done."""


class Reader(PeriodicExportingMetricReader):
    """Collects often, and never amid a fork: in the child the locks that it takes would stay taken."""

    def __init__(self, line: Line) -> None:
        self._quiet = threading.Lock()
        self._forking = False
        os.register_at_fork(before=self._wait, after_in_parent=self._go_on, after_in_child=self._go_on)
        super().__init__(
            MetricSender(line), export_interval_millis=2 * INTERVAL_MS, export_timeout_millis=TIMEOUT_S * 1000
        )

    def collect(self, timeout_millis: float = 10_000) -> None:  # type: ignore[misc]  # final, but see above
        """Collect and send."""
        with self._quiet:
            super().collect(timeout_millis)

    def _wait(self) -> None:
        self._forking = self._quiet.acquire(timeout=TIMEOUT_S)

    def _go_on(self) -> None:
        if self._forking:
            self._forking = False
            self._quiet.release()


def batches(line: Line) -> BatchSpanProcessor:
    """What hands spans to :class:`SpanSender`, whatever the environment says of batches."""
    return BatchSpanProcessor(
        SpanSender(line),
        max_queue_size=8192,
        schedule_delay_millis=INTERVAL_MS,
        max_export_batch_size=2048,
        export_timeout_millis=TIMEOUT_S * 1000,
    )
