"""What the receiver takes is bounded, garbage is refused, and only this machine's programs are served."""

from __future__ import annotations

import gzip
import http.client
import ipaddress
import os
import random
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_loopblock.local import decode, otlp_server, receiver
from otel_loopblock.local.otlp_server import MAX_BODY_BYTES
from otel_loopblock.local.service import ServiceProcess

PROTOBUF = {"Content-Type": "application/x-protobuf"}
PATHS = ("/v1/traces", "/v1/metrics", "/v1/logs")


@pytest.fixture
def server() -> Iterator[otlp_server.OtlpServer]:
    """One in this process, so that its bounds can be made narrow."""
    decoders = {
        "/v1/traces": ("spans", decode.decode_traces),
        "/v1/metrics": ("metrics", decode.decode_metrics),
        "/v1/logs": ("logs", decode.decode_logs),
    }
    running = otlp_server.OtlpServer(0, receiver._Store(decoders))
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join(10)
    assert not thread.is_alive()


def connect(server) -> socket.socket:
    connection = socket.create_connection(server.server_address, timeout=20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def status_of(server, raw: bytes) -> int:
    """Status of the answer to what is sent; 0 where the connection just ends."""
    with connect(server) as connection:
        try:
            connection.sendall(raw)
            answer = connection.recv(65536)
        except ConnectionError:
            return 0
    return int(answer.split()[1]) if answer else 0


def post(server, body: bytes, path: str = "/v1/traces", **headers: str) -> int:
    connection = http.client.HTTPConnection(*server.server_address, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, body, {**PROTOBUF, **named})
        return connection.getresponse().status
    finally:
        connection.close()


def is_well(server) -> bool:
    return post(server, ExportTraceServiceRequest().SerializeToString()) == 200


def spans(count: int, name: str = "s") -> bytes:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for _ in range(count):
        scope.spans.add(name=name)
    return request.SerializeToString()


# -- where it listens -----------------------------------------------------------------------------


def test_receiver_listens_on_the_loopback_interface_only(server):
    address, port = server.server_address
    assert ipaddress.ip_address(address).is_loopback
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it asks which address would be used
            others.add(probe.getsockname()[0])
        except OSError:
            pass
    for other in others:
        if not ipaddress.ip_address(other).is_loopback:
            with pytest.raises((ConnectionError, TimeoutError)):
                socket.create_connection((other, port), timeout=5)


def test_service_listens_on_the_loopback_interface_whatever_the_environment_says(monkeypatch):
    service = ServiceProcess("app:app", loop="asyncio", environ={"UVICORN_HOST": "0.0.0.0"})
    commands = []
    monkeypatch.setattr("subprocess.Popen", lambda command, **options: commands.append(command))
    service._start()
    service._log.close()
    (command,) = commands
    assert command[command.index("--host") + 1] == "127.0.0.1"


def test_nothing_else_in_the_package_listens():
    package = Path(receiver.__file__).parents[1]
    listening = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if any(word in path.read_text("utf-8") for word in ("HTTPServer", "socketserver", ".listen("))
    }
    # Attaching listens in a folder that only its owner can enter.
    assert listening == {"local/otlp_server.py", "attach/script.py"} | {
        # Says "wsgiref.simple_server" and the like in advice, or hooks what an application listens with.
        name
        for name in listening
        if name.startswith(("explain/advice/", "hooks/"))
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Host": "example.org"},
        {"Host": "rebound.example.org:4318"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/spans"), ("POST", "/reset"), ("POST", "/v1/traces")])
def test_web_page_is_not_served(server, method, path, headers):
    assert post(server, spans(1)) == 200
    connection = http.client.HTTPConnection(*server.server_address, timeout=20)
    connection.request(method, path, headers={**PROTOBUF, **headers})
    answer = connection.getresponse()
    assert answer.status == 403
    assert b'"s"' not in answer.read()
    connection.close()
    assert server.intake.ask("counts")["spans"] == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:4318", "localhost", "LocalHost:4318"])
def test_program_of_this_machine_is_served(server, host):
    assert post(server, spans(1), Host=host) == 200


# -- size -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compression_bomb_is_refused_before_it_is_unpacked(server, encoding, monkeypatch):
    bomb = bytes(4 * MAX_BODY_BYTES)
    packed = gzip.compress(bomb, 1) if encoding == "gzip" else zlib.compress(bomb, 1)
    assert len(packed) < MAX_BODY_BYTES
    decoded = []
    monkeypatch.setitem(server.intake.paths, "/v1/traces", ("spans", decoded.append))
    assert post(server, packed, Content_Encoding=encoding) == 413
    assert not decoded


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (str(MAX_BODY_BYTES + 1), 413),
        ("9" * 18, 413),
        ("9" * 5000, 413),
        ("-1", 400),
        ("+1", 400),
        ("1_0", 400),
        ("0x10", 400),
        ("", 400),
        ("²", 400),
        ("1\r\nContent-Length: 2", 400),
    ],
)
def test_length_that_cannot_be_is_refused(server, length, status):
    head = f"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
    assert (
        status_of(server, f"{head}Content-Type: application/x-protobuf\r\n\r\n".encode("latin-1")) == status
    )
    assert is_well(server)


def test_body_that_ends_early_is_refused(server):
    body = spans(2)
    with connect(server) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nContent-Type: application/x-protobuf\r\n"
            b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).split()[1] == b"400"
    assert server.intake.ask("counts")["spans"] == 0


def test_body_in_chunks_is_refused_and_not_taken_for_another_request(server):
    raw = (
        b"POST /reset HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1d\r\nGET /spans HTTP/1.1\r\nX: y\r\n\r\n\r\n0\r\n\r\n"
    )
    with connect(server) as connection:
        connection.sendall(raw)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.split()[1] == b"411"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /counts HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
        (b"GET /counts HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /counts\x00 HTTP/1.1\r\n\r\n", 404),
        (b"BREW /counts HTTP/1.1\r\n\r\n", 501),
        (b"GET /counts HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400),
    ],
)
def test_request_that_is_none_is_refused(server, raw, status):
    # 0: a server that closes before it has read all may take its own answer back.
    assert status_of(server, raw) in ((status, 0) if len(raw) > 65_536 else (status,))
    assert is_well(server)


def test_refusal_does_not_quote_at_length(server):
    path = "/v1/" + "a" * 60_000
    connection = http.client.HTTPConnection(*server.server_address, timeout=20)
    connection.request("GET", path)
    assert len(connection.getresponse().read()) <= otlp_server.MAX_REASON_BYTES
    connection.close()


def test_more_records_than_are_kept_are_refused(server, monkeypatch):
    monkeypatch.setattr(receiver, "KEPT", 10)
    assert post(server, spans(10)) == 200
    assert post(server, spans(11)) == 413
    assert server.intake.ask("counts")["spans"] == 10


def test_what_is_kept_is_bounded_in_number_and_in_size(server, monkeypatch):
    store = server.intake
    monkeypatch.setattr(receiver, "KEPT", 10)
    for name in "abc":
        assert post(server, spans(4, name)) == 200
    assert [span["name"] for span in store.ask("spans")] == ["b"] * 4 + ["c"] * 4
    monkeypatch.setattr(receiver, "KEPT_BYTES", 25_000)
    for name in "de":
        assert post(server, spans(1, name * 10_000)) == 200
    assert [span["name"][0] for span in store.ask("spans")] == ["b"] * 4 + ["c"] * 4 + ["d", "e"]
    assert post(server, spans(1, "f" * 10_000)) == 200
    assert [span["name"][0] for span in store.ask("spans")] == ["e", "f"]
    assert store.ask("counts")["spans"] == 15


# -- time and connections --------------------------------------------------------------------------


def test_client_that_sends_slowly_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(otlp_server, "REQUEST_S", 0.5)
    began = time.monotonic()
    with connect(server) as connection:
        connection.sendall(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")
        with pytest.raises(ConnectionError):  # sooner or later: the other side is gone
            while time.monotonic() - began < 30:
                connection.sendall(b"\x00")  # each in time for a time-out per read
                time.sleep(0.05)
    assert time.monotonic() - began < 25
    assert is_well(server)


def test_client_that_sends_headers_slowly_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(otlp_server, "REQUEST_S", 0.5)
    began = time.monotonic()
    with connect(server) as connection:
        connection.sendall(b"GET /counts HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            while time.monotonic() - began < 30:
                connection.sendall(b"A")
                time.sleep(0.05)
    assert time.monotonic() - began < 25


def test_client_that_sends_nothing_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(otlp_server, "IDLE_S", 0.3)
    with connect(server) as connection:
        assert connection.recv(1) == b""


def test_connection_may_rest_between_requests(server, monkeypatch):
    monkeypatch.setattr(otlp_server, "REQUEST_S", 0.2)
    connection = http.client.HTTPConnection(*server.server_address, timeout=20)
    for _ in range(3):
        connection.request("GET", "/counts")
        assert connection.getresponse().read()
        used = connection.sock
        time.sleep(0.4)
    assert used is connection.sock
    connection.close()


def test_number_of_connections_is_bounded(server, monkeypatch):
    monkeypatch.setattr(otlp_server, "MAX_CONNECTIONS", 5)
    before = threading.active_count()
    held = [connect(server) for _ in range(30)]
    assert post_or_none(server) is None  # closed at once, which is no answer
    assert threading.active_count() <= before + 5
    for connection in held:
        connection.close()
    deadline = time.monotonic() + 20
    while post_or_none(server) != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_well(server)


def post_or_none(server) -> int | None:
    try:
        return post(server, b"")
    except (OSError, http.client.HTTPException):
        return None


# -- garbage --------------------------------------------------------------------------------------


def samples() -> dict[str, bytes]:
    """A message of each signal with something of everything in it."""
    traces = ExportTraceServiceRequest()
    resource = traces.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    span = resource.scope_spans.add().spans.add(name="GET /", kind=2, trace_id=b"t" * 16, span_id=b"s" * 8)
    span.attributes.add(key="a").value.array_value.values.add().int_value = 3
    span.attributes.add(key="k").value.kvlist_value.values.add(key="b").value.bytes_value = b"x"
    span.events.add(name="e").attributes.add(key="d").value.double_value = 0.5
    span.links.add(trace_id=b"l" * 16)
    span.status.code = 2
    metrics = ExportMetricsServiceRequest()
    found = metrics.resource_metrics.add().scope_metrics.add().metrics
    point = found.add(name="h", unit="s").histogram.data_points.add(count=3, explicit_bounds=[1.0])
    point.bucket_counts.extend([1, 2])
    point.exemplars.add(as_double=0.5, trace_id=b"t" * 16)
    found[0].histogram.aggregation_temporality = 2
    found.add(name="s").sum.data_points.add(as_int=3)
    found.add(name="g").gauge.data_points.add(as_double=1.5)
    found.add(name="e").exponential_histogram.data_points.add(count=1)
    found.add(name="q").summary.data_points.add(count=1)
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(event_name="e", severity_number=13)
    record.body.string_value = "text"
    record.attributes.add(key="a").value.bool_value = True
    return {path: each.SerializeToString() for path, each in zip(PATHS, (traces, metrics, logs), strict=True)}


def nested(depth: int) -> bytes:
    """A span with an attribute of that many arrays, one in the other."""

    def field(number: int, content: bytes) -> bytes:
        size, length = b"", len(content)
        while length > 127:
            size += bytes([length & 127 | 128])
            length >>= 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + content

    value = b""
    for _ in range(depth):
        value = field(5, field(1, value))  # AnyValue.array_value, ArrayValue.values
    span = field(9, field(1, b"deep") + field(2, value))
    return field(1, field(2, field(2, span)))


def test_messages_that_the_others_are_made_of_are_taken(server):
    for path, body in samples().items():
        assert post(server, body, path) == 200
    assert server.intake.ask("counts") == {"spans": 1, "metrics": 5, "logs": 1}
    assert post(server, nested(10)) == 200


@pytest.mark.parametrize("depth", [60, 1000, 20_000])
def test_nesting_that_has_no_end_is_refused(server, depth):
    assert post(server, nested(depth)) == 400
    assert is_well(server)


@pytest.mark.parametrize("kind", [-1, 6, 2**31 - 1])
def test_number_outside_an_enumeration_is_refused(server, kind):
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name="s").kind = kind
    assert post(server, request.SerializeToString()) == 400


def test_garbage_is_answered_and_never_the_end(server):
    seed = int(os.environ.get("LOOPBLOCK_FUZZ_SEED", "1"))
    choose = random.Random(seed)
    good = samples()
    connection = http.client.HTTPConnection(*server.server_address, timeout=30)
    statuses = {200: 0, 400: 0}
    for number in range(1500):
        path = choose.choice(PATHS)
        body = bytearray(choose.choice([good[path], good[choose.choice(PATHS)], choose.randbytes(200)]))
        for _ in range(choose.randrange(6)):
            at = choose.randrange(len(body) + 1)
            match choose.randrange(4):
                case 0:
                    body[at : at + 1] = bytes([choose.randrange(256)])
                case 1:
                    del body[at : at + choose.randrange(20)]
                case 2:
                    body[at:at] = choose.randbytes(choose.randrange(20))
                case _:
                    body[at:at] = body[: choose.randrange(40)]
        connection.request("POST", path, bytes(body), PROTOBUF)
        answer = connection.getresponse()
        answer.read()
        assert answer.status in statuses, (seed, number, path, bytes(body))
        statuses[answer.status] += 1
    for signal in ("spans", "metrics", "logs"):
        connection.request("GET", f"/{signal}")
        assert connection.getresponse().read().startswith(b"[")
    connection.close()
    assert min(statuses.values()) > 100, statuses


def test_garbage_instead_of_http_is_never_the_end(server):
    choose = random.Random(2)
    good = b"POST /v1/logs HTTP/1.1\r\nContent-Type: application/x-protobuf\r\nContent-Length: 3\r\n\r\nabc"
    for _ in range(150):
        raw = bytearray(good)
        for _ in range(choose.randrange(1, 5)):
            at = choose.randrange(len(raw))
            raw[at : at + choose.randrange(4)] = choose.randbytes(choose.randrange(4))
        with connect(server) as connection:
            connection.sendall(bytes(raw))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    assert is_well(server)
