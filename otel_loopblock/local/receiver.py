"""An OTLP receiver in a process of its own, and its client.

It takes real protobuf over HTTP, keeps a bounded number of records in memory, and answers queries about
them. ``python -m otel_loopblock.local.receiver --port 0`` prints ``{"port": …}`` as its first line.
:class:`ReceiverProcess` starts one and asks it::

    with ReceiverProcess() as receiver:
        ...  # OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint
        spans = receiver.wait_for_spans(lambda spans: any(s.kind == "SERVER" for s in spans))

It listens on the loopback interface only, and takes nothing that a web page sends. Whatever is sent to it is
bounded: in size, unpacked too, in the number of records, in time, and in the number of connections.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gzip
import io
import json
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, TypeVar

from otel_loopblock.local.environment import uninstrumented_environment
from otel_loopblock.local.telemetry import (
    Attributes,
    Counts,
    Event,
    Exemplar,
    Link,
    LogRecord,
    Metric,
    Point,
    Span,
    from_json,
)

__all__ = [
    "Attributes",
    "Counts",
    "Event",
    "Exemplar",
    "Link",
    "LogRecord",
    "Metric",
    "Point",
    "ReceiverProcess",
    "Span",
]

KEPT = 50_000
"""Records of each signal that are kept; older ones are dropped, together with all of the same request."""

KEPT_BYTES = 64 * 1024 * 1024
"""The same for their size as they were sent, unpacked."""

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Of one request, packed or unpacked. The Collector's own limit is 20 MiB."""

MAX_CONNECTIONS = 128
"""Open at the same time; one more is closed at once."""

REQUEST_S = 60.0
"""From the first line of a request until it is answered."""

IDLE_S = 300.0
"""Before the first line: exporters keep their connection, and may have nothing to send for a minute."""

DECODED_AT_ONCE = 2
"""Requests; others wait. A message takes many times its size while it is decoded."""

MAX_REASON_BYTES = 1024
"""Of an answer that says why a request was refused: it may quote it."""

_HOSTS = frozenset({"127.0.0.1", "localhost"})

Record = TypeVar("Record", Span, Metric, LogRecord)
Named = TypeVar("Named", Span, Metric)


class ReceiverProcess:
    """A running receiver: start it with ``with`` (or :meth:`start`), query it, stop it.

    It also ends when the process that started it does, however that ended.
    """

    def __init__(self, port: int = 0) -> None:
        self._wanted_port = port
        self._process: subprocess.Popen[str] | None = None
        self._port = 0

    @property
    def endpoint(self) -> str:
        """The base URL for ``OTEL_EXPORTER_OTLP_ENDPOINT`` (protocol ``http/protobuf``)."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> ReceiverProcess:
        """Start the process and wait until it listens.

        Raises:
            RuntimeError: it did not start; the message is what it printed.
        """
        command = [sys.executable, "-m", "otel_loopblock.local.receiver"]
        self._process = subprocess.Popen(
            [*command, "--port", str(self._wanted_port), "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=uninstrumented_environment(),
            start_new_session=True,  # a Ctrl-C is for the starter, which still has questions to ask
        )
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        if not first:
            _, trouble = self._process.communicate(timeout=10)
            raise RuntimeError(f"the OTLP receiver did not start: {trouble.strip().splitlines()[-1:]}")
        self._port = json.loads(first)["port"]
        return self

    def stop(self) -> None:
        """End the process; nothing happens if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def __enter__(self) -> ReceiverProcess:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def spans(self, name: str | None = None) -> list[Span]:
        """The spans received, in the order of arrival; with ``name`` only those."""
        return _named(self._fetch("/spans", Span), name)

    def metrics(self, name: str | None = None) -> list[Metric]:
        """The metrics received, one entry per export, oldest first; with ``name`` only those."""
        return _named(self._fetch("/metrics", Metric), name)

    def logs(self) -> list[LogRecord]:
        """The log records received, in the order of arrival."""
        return self._fetch("/logs", LogRecord)

    def counts(self) -> Counts:
        """How many records of each signal came in since the start or the last reset."""
        return from_json(Counts, self._request("GET", "/counts"))

    def reset(self) -> None:
        """Forget everything received."""
        self._request("POST", "/reset")

    def wait_for_spans(
        self, enough: Callable[[list[Span]], object] | int = 1, timeout_s: float = 30.0
    ) -> list[Span]:
        """The spans, as soon as there are enough.

        Args:
            enough: how many there must be, or a question about all of them.
            timeout_s: how long to wait.

        Raises:
            TimeoutError: with a summary of what had come by then.
        """
        return self._wait(self.spans, "spans", enough, timeout_s)

    def wait_for_metrics(
        self, enough: Callable[[list[Metric]], object] | int = 1, timeout_s: float = 30.0
    ) -> list[Metric]:
        """The metrics, as soon as there are enough; as :meth:`wait_for_spans`."""
        return self._wait(self.metrics, "metrics", enough, timeout_s)

    def wait_for_logs(
        self, enough: Callable[[list[LogRecord]], object] | int = 1, timeout_s: float = 30.0
    ) -> list[LogRecord]:
        """The log records, as soon as there are enough; as :meth:`wait_for_spans`."""
        return self._wait(self.logs, "logs", enough, timeout_s)

    def _wait(
        self,
        fetch: Callable[[], list[Record]],
        signal: str,
        enough: Callable[[list[Record]], object] | int,
        timeout_s: float,
    ) -> list[Record]:
        deadline = time.monotonic() + timeout_s
        seen = -1
        while True:
            # Everything is fetched again only when something came: a poll must not cost the service its CPU.
            count = getattr(self.counts(), signal)
            if count != seen:
                seen = count
                records = fetch()
                if len(records) >= enough if isinstance(enough, int) else enough(records):
                    return records
            if time.monotonic() >= deadline:
                names = sorted({str(getattr(record, "name", "")) for record in records})
                raise TimeoutError(
                    f"not enough {signal} after {timeout_s:g} s; got {count}: {', '.join(names)}"
                )
            time.sleep(0.05)

    def _fetch(self, path: str, record_type: type[Record]) -> list[Record]:
        return [from_json(record_type, value) for value in self._request("GET", path)]

    def _request(self, method: str, path: str) -> Any:
        if self._process is None:
            raise RuntimeError("the OTLP receiver is not running; use it in a with statement")
        connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def _named(records: list[Named], name: str | None) -> list[Named]:
    return records if name is None else [record for record in records if record.name == name]


class _Kept:
    """The records of one signal, bounded in number and in size."""

    def __init__(self) -> None:
        self.count = 0
        """How many there were, those dropped included."""
        self.records: deque[Any] = deque()
        self._requests: deque[tuple[int, int]] = deque()
        """Of each request: number of records, size."""
        self._bytes = 0

    def add(self, found: Sequence[Any], size: int) -> None:
        self.count += len(found)
        self.records.extend(found)
        self._requests.append((len(found), size))
        self._bytes += size
        while self._bytes > KEPT_BYTES or len(self.records) > KEPT:
            number, oldest = self._requests.popleft()
            self._bytes -= oldest
            for _ in range(number):
                self.records.popleft()


class _Store:
    """What was received."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self.reset()

    def add(self, signal: str, records: Sequence[Any], size: int) -> None:
        if records:
            with self._lock:
                self._kept[signal].add(records, size)

    def get(self, signal: str) -> list[dict[str, Any]]:
        with self._lock:
            records = list(self._kept[signal].records)
        return [dataclasses.asdict(record) for record in records]

    def counts(self) -> dict[str, int]:
        with self._lock:
            return {signal: kept.count for signal, kept in self._kept.items()}

    def reset(self) -> None:
        with self._lock:
            self._kept = {signal: _Kept() for signal in ("spans", "metrics", "logs")}


class _Refused(Exception):
    """The request cannot be served.

    Args:
        status: of the answer.
        reason: its text.
        closes: whether the connection ends: what follows on it may be the rest of this request.
    """

    def __init__(self, status: int, reason: str, *, closes: bool = True) -> None:
        super().__init__(reason)
        self.status = status
        self.closes = closes


class _Handler(BaseHTTPRequestHandler):
    """OTLP/HTTP on POST, queries on GET."""

    protocol_version = "HTTP/1.1"  # exporters keep their connection
    wbufsize = -1  # headers and body in one packet
    disable_nagle_algorithm = True
    store: _Store
    decoders: Mapping[str, tuple[str, Callable[[bytes], Iterable[Any]]]]
    decoding = threading.BoundedSemaphore(DECODED_AT_ONCE)
    server: _Server

    def handle_one_request(self) -> None:
        """Serve the next request of the connection, which may be long in coming."""
        self.server.expect(self.request, IDLE_S)
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Read the headers of a request whose first line has come."""
        self.server.expect(self.request, REQUEST_S)
        return super().parse_request()

    def do_GET(self) -> None:
        try:
            self._check_sender()
            if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
                raise _Refused(400, "a query has no body")
            signal = self.path.strip("/")
            if signal == "counts":
                self._answer_json(self.store.counts())
            elif signal in ("spans", "metrics", "logs"):
                self._answer_json(self.store.get(signal))
            else:
                raise _Refused(404, f"no such query: {self.path}", closes=False)
        except _Refused as refusal:
            self._refuse(refusal)

    def do_POST(self) -> None:
        try:
            self._check_sender()
            body = self._body()
            if self.path == "/reset":
                self.store.reset()
                self._answer_json({})
                return
            if self.path not in self.decoders:
                raise _Refused(404, f"no such OTLP path: {self.path}", closes=False)
            if self.headers.get("Content-Type", "").partition(";")[0].strip() != "application/x-protobuf":
                raise _Refused(415, "only application/x-protobuf is taken", closes=False)
            signal, decode = self.decoders[self.path]
            try:
                with self.decoding:
                    records = list(decode(body))
            except MemoryError as error:
                raise _Refused(413, "it takes too much memory", closes=False) from error
            except Exception as error:  # protobuf's DecodeError, or a value outside an enumeration
                raise _Refused(400, f"not an OTLP message: {error}", closes=False) from error
            if len(records) > KEPT:
                raise _Refused(413, f"more than {KEPT} records", closes=False)
        except _Refused as refusal:
            self._refuse(refusal)
            return
        self.store.add(signal, records, len(body))
        self._answer(200, b"", "application/x-protobuf")  # an empty Export…ServiceResponse

    def _check_sender(self) -> None:
        """Take nothing from a web page: neither one of another site, nor one whose name leads here."""
        host, _, port = self.headers.get("Host", "127.0.0.1").lower().rpartition(":")
        if (host or port) not in _HOSTS or "Origin" in self.headers:
            raise _Refused(403, "only programs of this machine are served")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing per request."""

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise _Refused(411, "a Content-Length is needed")
        declared = self.headers.get_all("Content-Length", ["0"])
        if len(declared) > 1 or not (declared[0].isascii() and declared[0].isdecimal()):
            raise _Refused(400, f"Content-Length {', '.join(declared)!r} is not a length")
        # The number of digits first: Python refuses to read thousands of them.
        if len(declared[0]) > 18 or int(declared[0]) > MAX_BODY_BYTES:
            raise _Refused(413, f"more than {MAX_BODY_BYTES} bytes")
        raw = self.rfile.read(int(declared[0]))
        if len(raw) < int(declared[0]):
            raise _Refused(400, "the body ended before its Content-Length")
        encoding = self.headers.get("Content-Encoding", "identity")
        try:
            match encoding:
                case "identity":
                    body = raw
                case "gzip":
                    body = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(MAX_BODY_BYTES + 1)
                case "deflate":
                    body = zlib.decompressobj().decompress(raw, MAX_BODY_BYTES + 1)
                case _:
                    raise _Refused(415, f"Content-Encoding {encoding} is not known; use gzip or deflate")
        except (OSError, EOFError, zlib.error) as error:
            raise _Refused(400, f"not {encoding}: {error}", closes=False) from error
        if len(body) > MAX_BODY_BYTES:
            raise _Refused(413, f"more than {MAX_BODY_BYTES} bytes when unpacked", closes=False)
        return body

    def _refuse(self, refusal: _Refused) -> None:
        self.close_connection |= refusal.closes
        text = str(refusal).encode("utf-8", "backslashreplace")[:MAX_REASON_BYTES]
        self._answer(refusal.status, text, "text/plain; charset=utf-8")

    def _answer_json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), "application/json")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    """A thread per connection; their number, and the time that each takes for a request, are bounded."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self._lock = threading.Lock()
        self._until: dict[socket.socket, float] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def expect(self, connection: socket.socket, within_s: float) -> None:
        """Close a connection unless something else is expected of it within so many seconds."""
        with self._lock:
            if connection in self._until:
                self._until[connection] = time.monotonic() + within_s

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, unless there are too many."""
        with self._lock:
            full = len(self._until) >= MAX_CONNECTIONS
            if not full:
                self._until[request] = time.monotonic() + IDLE_S
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._lock:
            self._until.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Wake up the threads whose connection is too slow; called several times per second."""
        now = time.monotonic()
        with self._lock:
            for connection, until in self._until.items():
                if now >= until:
                    with contextlib.suppress(OSError):  # a read that waits ends as if the client had left
                        connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


def main(argv: list[str] | None = None) -> int:
    """Serve until terminated.

    Args:
        argv: ``--port N`` (0: any free one) and ``--until-eof`` (end when standard input does).
    """
    from otel_loopblock.local import decode  # needs protobuf, which the client does not

    parser = argparse.ArgumentParser(prog="python -m otel_loopblock.local.receiver", description=__doc__)
    parser.add_argument("--port", type=int, default=4318, help="0 takes any free one (default: %(default)s)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input is closed")
    args = parser.parse_args(argv)
    _Handler.store = _Store()
    _Handler.decoders = {
        "/v1/traces": ("spans", decode.decode_traces),
        "/v1/metrics": ("metrics", decode.decode_metrics),
        "/v1/logs": ("logs", decode.decode_logs),
    }
    try:
        server = _Server(args.port)
    except (OSError, OverflowError) as error:
        print(f"cannot listen on port {args.port}: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    if args.until_eof:
        threading.Thread(target=_stop_at_eof, args=(server,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=0.1)
    return 0


def _stop_at_eof(server: ThreadingHTTPServer) -> None:
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
