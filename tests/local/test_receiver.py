"""The embedded OTLP receiver, with the SDK's real exporters over a socket."""

from __future__ import annotations

import gzip
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord as ApiLogRecord
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otel_loopblock.local.receiver import ReceiverProcess

EVENT = {"z": 0.05, "a": "wait", "n": 3, "b": True, "l": ["x", "y"]}
RESOURCE = Resource.create({"service.name": "shop"})


@pytest.fixture(scope="module")
def running() -> Iterator[ReceiverProcess]:
    with ReceiverProcess() as receiver:
        yield receiver


@pytest.fixture
def receiver(running: ReceiverProcess) -> ReceiverProcess:
    running.reset()
    return running


def tracer_provider(
    receiver: ReceiverProcess, compression: Compression = Compression.NoCompression
) -> TracerProvider:
    provider = TracerProvider(resource=RESOURCE)
    exporter = OTLPSpanExporter(f"{receiver.endpoint}/v1/traces", compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.mark.parametrize("compression", list(Compression))
def test_span_arrives_with_everything_on_it(receiver: ReceiverProcess, compression: Compression) -> None:
    provider = tracer_provider(receiver, compression)
    tracer = provider.get_tracer("scope")
    with (
        tracer.start_as_current_span("GET /predict", kind=trace.SpanKind.SERVER) as parent,
        tracer.start_as_current_span("inner") as child,
    ):
        child.add_event("event_loop.blocked", EVENT)
        child.add_link(parent.get_span_context(), {"why": "test"})
        child.set_status(trace.StatusCode.ERROR, "broken")
    provider.shutdown()

    inner, server = receiver.wait_for_spans(2)

    assert (server.kind, server.parent_span_id, server.status) == ("SERVER", None, "UNSET")
    assert server.trace_id == f"{parent.get_span_context().trace_id:032x}"
    assert (inner.kind, inner.parent_span_id, inner.trace_id) == ("INTERNAL", server.span_id, server.trace_id)
    assert (inner.status, inner.status_message, inner.scope) == ("ERROR", "broken", "scope")
    assert inner.resource["service.name"] == "shop"
    assert server.start_unix_ns <= inner.start_unix_ns <= inner.end_unix_ns <= server.end_unix_ns
    (event,) = inner.events_named("event_loop.blocked")
    assert inner.start_unix_ns <= event.time_unix_ns <= inner.end_unix_ns
    assert list(event.attributes.items()) == list({**EVENT, "l": ("x", "y")}.items())
    assert [type(value) for value in event.attributes.values()] == [float, str, int, bool, tuple]
    (link,) = inner.links
    assert (link.trace_id, link.span_id) == (server.trace_id, server.span_id)
    assert link.attributes == {"why": "test"}


def test_whole_double_stays_a_double(receiver: ReceiverProcess) -> None:
    provider = tracer_provider(receiver)
    provider.get_tracer("t").start_span("s", attributes={"double": 1.0, "int": 1}).end()
    (span,) = receiver.wait_for_spans(1)
    assert [type(value) for value in span.attributes.values()] == [float, int]


def test_histogram_arrives_with_buckets_and_an_exemplar_of_its_trace(receiver: ReceiverProcess) -> None:
    tracer = TracerProvider().get_tracer("t")
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{receiver.endpoint}/v1/metrics"), 60_000)
    provider = MeterProvider([reader], resource=RESOURCE)
    meter = provider.get_meter("m")
    histogram = meter.create_histogram(
        "event_loop.lag", unit="s", explicit_bucket_boundaries_advisory=[0.01, 0.1]
    )
    with tracer.start_as_current_span("blocked") as span:
        histogram.record(0.05, {"event_loop.type": "uvloop"})
    histogram.record(0.5, {"event_loop.type": "uvloop"})
    meter.create_counter("suppressed").add(3)
    meter.create_gauge("utilization").set(0.25)
    provider.shutdown()

    metrics = {metric.name: metric for metric in receiver.wait_for_metrics(3)}

    lag = metrics["event_loop.lag"]
    assert (lag.kind, lag.unit, lag.temporality, lag.monotonic) == ("histogram", "s", "cumulative", None)
    assert (lag.scope, lag.resource["service.name"]) == ("m", "shop")
    (point,) = lag.points
    assert point.attributes == {"event_loop.type": "uvloop"}
    assert (point.bounds, point.bucket_counts, point.count) == ((0.01, 0.1), (0, 1, 1), 2)
    assert (point.sum, point.min, point.max) == (pytest.approx(0.55), 0.05, 0.5)
    (exemplar,) = point.exemplars
    context = span.get_span_context()
    assert (exemplar.value, exemplar.trace_id) == (0.05, f"{context.trace_id:032x}")
    assert exemplar.span_id == f"{context.span_id:016x}"
    counter, gauge = metrics["suppressed"], metrics["utilization"]
    assert (counter.kind, counter.monotonic, counter.points[0].value) == ("sum", True, 3)
    assert (gauge.kind, gauge.temporality, gauge.points[0].value) == ("gauge", None, 0.25)
    assert receiver.metrics("event_loop.lag") == [lag]


def test_log_event_arrives_with_its_trace(receiver: ReceiverProcess) -> None:
    provider = LoggerProvider(resource=RESOURCE)
    exporter = OTLPLogExporter(f"{receiver.endpoint}/v1/logs", compression=Compression.Gzip)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    with TracerProvider().get_tracer("t").start_as_current_span("s") as span:
        provider.get_logger("scope").emit(
            ApiLogRecord(
                timestamp=1_000,
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                body="blocked",
                event_name="event_loop.blocked",
                attributes={"event_loop.block.duration": 0.05},
            )
        )
    provider.shutdown()

    (record,) = receiver.wait_for_logs(1)

    assert (record.event_name, record.body, record.severity_text) == ("event_loop.blocked", "blocked", "WARN")
    assert (record.severity_number, record.time_unix_ns, record.scope) == (13, 1_000, "scope")
    assert record.attributes == {"event_loop.block.duration": 0.05}
    assert record.trace_id == f"{span.get_span_context().trace_id:032x}"


def test_reset_forgets(receiver: ReceiverProcess) -> None:
    tracer_provider(receiver).get_tracer("t").start_span("s").end()
    assert receiver.wait_for_spans(1)
    receiver.reset()
    assert receiver.spans() == []
    assert receiver.counts().spans == 0


def test_waiting_in_vain_says_what_had_come(receiver: ReceiverProcess) -> None:
    tracer_provider(receiver).get_tracer("t").start_span("only this").end()
    with pytest.raises(TimeoutError, match=r"not enough spans after 0\.3 s; got 1: only this"):
        receiver.wait_for_spans(2, timeout_s=0.3)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/v1/traces", b"\xff\xff", {}, 400),
        ("/v1/traces", b"not gzip", {"Content-Encoding": "gzip"}, 400),
        ("/v1/traces", gzip.compress(b"", mtime=0)[:-4], {"Content-Encoding": "gzip"}, 400),
        ("/v1/traces", b"", {"Content-Encoding": "br"}, 415),
        ("/v1/traces", b"{}", {"Content-Type": "application/json"}, 415),
        ("/v1/traces", b"", {"Content-Length": "99999999999"}, 413),
        ("/v1/traces", b"", {"Content-Length": "many"}, 400),
        ("/v1/profiles", b"", {}, 404),
    ],
)
def test_what_cannot_be_taken_is_refused(
    receiver: ReceiverProcess, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    connection = http.client.HTTPConnection(receiver.endpoint.removeprefix("http://"), timeout=10)
    connection.request("POST", path, body, {"Content-Type": "application/x-protobuf", **headers})
    assert connection.getresponse().status == status
    connection.close()
    assert receiver.counts().spans == 0


def test_taken_port_is_one_clear_error(receiver: ReceiverProcess) -> None:
    port = int(receiver.endpoint.rpartition(":")[2])
    with pytest.raises(RuntimeError, match=f"cannot listen on port {port}"):
        ReceiverProcess(port).start()


def test_receiver_ends_with_the_process_that_started_it() -> None:
    script = (
        "import time; from otel_loopblock.local.receiver import ReceiverProcess; "
        "r = ReceiverProcess().start(); print(r._process.pid, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    deadline = time.monotonic() + 20
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
