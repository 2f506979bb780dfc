"""An OTLP receiver in a process of its own, and its client.

It takes real protobuf over HTTP, keeps a bounded number of records in memory, and answers queries about
them. ``python -m otel_loopblock.local.receiver --port 0`` prints ``{"port": …}`` as its first line.
:class:`ReceiverProcess` starts one and asks it::

    with ReceiverProcess() as receiver:
        ...  # OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint
        spans = receiver.wait_for_spans(lambda spans: any(s.kind == "SERVER" for s in spans))

Whatever is sent to it is bounded: see :mod:`otel_loopblock.local.otlp_server`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, TypeVar

from otel_loopblock.local.environment import uninstrumented_environment
from otel_loopblock.local.otlp_server import OtlpServer, Refused
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
    """What was received.

    Args:
        decoders: by path, the signal and what makes records of a message.
    """

    def __init__(self, decoders: Mapping[str, tuple[str, Callable[[bytes], Sequence[Any]]]]) -> None:
        self.paths = decoders
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self.reset()

    def take(self, path: str, body: bytes, sender: str) -> None:
        """Keep the records of a message."""
        signal, decode = self.paths[path]
        records = decode(body)
        if len(records) > KEPT:
            raise Refused(413, f"more than {KEPT} records", closes=False)
        if records:
            with self._lock:
                self._kept[signal].add(records, len(body))

    def ask(self, query: str) -> Any:
        """The records of a signal, or how many there were of each."""
        with self._lock:
            if query == "counts":
                return {signal: kept.count for signal, kept in self._kept.items()}
            if query not in self._kept:
                raise Refused(404, f"no such query: /{query}", closes=False)
            records = list(self._kept[query].records)
        return [dataclasses.asdict(record) for record in records]

    def reset(self) -> None:
        with self._lock:
            self._kept = {signal: _Kept() for signal in ("spans", "metrics", "logs")}


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
    decoders: dict[str, tuple[str, Callable[[bytes], Sequence[Any]]]] = {
        "/v1/traces": ("spans", decode.decode_traces),
        "/v1/metrics": ("metrics", decode.decode_metrics),
        "/v1/logs": ("logs", decode.decode_logs),
    }
    try:
        server = OtlpServer(args.port, _Store(decoders))
    except (OSError, OverflowError) as error:
        print(f"cannot listen on port {args.port}: {error}", file=sys.stderr)
        return 2
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    if args.until_eof:
        threading.Thread(target=_stop_at_eof, args=(server,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=0.1)
    return 0


def _stop_at_eof(server: OtlpServer) -> None:
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
