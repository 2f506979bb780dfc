"""OTLP over HTTP on the loopback interface, for whoever takes the messages: bounded in every respect.

It takes real protobuf, and nothing that a web page sends. Whatever is sent is bounded: in size, unpacked too,
in time, and in the number of connections. What a message means is not known here: an :class:`Intake` is told.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import socket
import threading
import time
import zlib
from collections.abc import Container
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

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

SENDER_HEADER = "X-Loopblock-Sender"
"""Which process sent a message, where it says so."""

_HOSTS = frozenset({"127.0.0.1", "localhost"})


class Intake(Protocol):
    """Who takes what arrives; called on several threads."""

    @property
    def paths(self) -> Container[str]:
        """Where messages may be sent to."""

    def take(self, path: str, body: bytes, sender: str) -> None:
        """Take a message.

        Args:
            path: one of :attr:`paths`.
            body: unpacked.
            sender: the value of :data:`SENDER_HEADER`, or empty.

        Raises:
            Refused: it cannot be taken.
            Exception: it is not a message of that kind.
        """

    def ask(self, query: str) -> Any:
        """Answer a query with what JSON can say.

        Raises:
            Refused: there is no such query.
        """

    def reset(self) -> None:
        """Forget everything."""


class Refused(Exception):
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
    decoding = threading.BoundedSemaphore(DECODED_AT_ONCE)
    server: OtlpServer

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
                raise Refused(400, "a query has no body")
            self._answer_json(self.server.intake.ask(self.path.strip("/")))
        except Refused as refusal:
            self._refuse(refusal)

    def do_POST(self) -> None:
        try:
            self._check_sender()
            body = self._body()
            if self.path == "/reset":
                self.server.intake.reset()
                self._answer_json({})
                return
            if self.path not in self.server.intake.paths:
                raise Refused(404, f"no such OTLP path: {self.path}", closes=False)
            if self.headers.get("Content-Type", "").partition(";")[0].strip() != "application/x-protobuf":
                raise Refused(415, "only application/x-protobuf is taken", closes=False)
            try:
                with self.decoding:
                    self.server.intake.take(self.path, body, self.headers.get(SENDER_HEADER, ""))
            except Refused:
                raise
            except MemoryError as error:
                raise Refused(413, "it takes too much memory", closes=False) from error
            except Exception as error:  # protobuf's DecodeError, or a value outside an enumeration
                raise Refused(400, f"not an OTLP message: {error}", closes=False) from error
        except Refused as refusal:
            self._refuse(refusal)
            return
        self._answer(200, b"", "application/x-protobuf")  # an empty Export…ServiceResponse

    def _check_sender(self) -> None:
        """Take nothing from a web page: neither one of another site, nor one whose name leads here."""
        host, _, port = self.headers.get("Host", "127.0.0.1").lower().rpartition(":")
        if (host or port) not in _HOSTS or "Origin" in self.headers:
            raise Refused(403, "only programs of this machine are served")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing per request."""

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise Refused(411, "a Content-Length is needed")
        declared = self.headers.get_all("Content-Length", ["0"])
        if len(declared) > 1 or not (declared[0].isascii() and declared[0].isdecimal()):
            raise Refused(400, f"Content-Length {', '.join(declared)!r} is not a length")
        # The number of digits first: Python refuses to read thousands of them.
        if len(declared[0]) > 18 or int(declared[0]) > MAX_BODY_BYTES:
            raise Refused(413, f"more than {MAX_BODY_BYTES} bytes")
        raw = self.rfile.read(int(declared[0]))
        if len(raw) < int(declared[0]):
            raise Refused(400, "the body ended before its Content-Length")
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
                    raise Refused(415, f"Content-Encoding {encoding} is not known; use gzip or deflate")
        except (OSError, EOFError, zlib.error) as error:
            raise Refused(400, f"not {encoding}: {error}", closes=False) from error
        if len(body) > MAX_BODY_BYTES:
            raise Refused(413, f"more than {MAX_BODY_BYTES} bytes when unpacked", closes=False)
        return body

    def _refuse(self, refusal: Refused) -> None:
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


class OtlpServer(ThreadingHTTPServer):
    """A thread per connection; their number, and the time that each takes for a request, are bounded.

    Args:
        port: where it listens on the loopback interface; 0: any free one.
        intake: who takes what arrives.

    Raises:
        OSError: the port is taken.
        OverflowError: there is no such port.
    """

    daemon_threads = True

    def __init__(self, port: int, intake: Intake) -> None:
        self.intake = intake
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
