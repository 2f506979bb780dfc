"""Names that the application's users may have chosen: nothing breaks, nothing is forged, all is bounded.

And what must never be in telemetry: values. Their marker is looked for in all that is emitted.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import sys
import threading
import time

import pytest
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_loopblock import guard
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stacktrace import MAX_STACKTRACE_CHARS
from otel_loopblock.naming import is_ours, ours
from otel_loopblock.naming.text import MAX_NAME, MAX_PATH, MAX_SENTENCE
from tests.conftest import LOOPS

HOSTILE = {
    "long": "naïve名" * 2_000,
    "controls": "a\x00b\x07c\x7fd\x9be",
    "ansi": "\x1b[2J\x1b]0;title\x07\x1b[31m",
    "newlines": "a\nWARNING forged\r\nb\u2028c\x85d",
    "markup": "<script>alert(1)</script>[red]x[/red]&amp;",
    "surrogates": "caf\udce9\ud800",
    "direction": "a\u202eb\u2066c",
}

MAX_LINE = 4096

MAX = {
    "code.stacktrace": MAX_STACKTRACE_CHARS + 8,
    "code.file.path": MAX_PATH,
    "event_loop.block.advice": MAX_SENTENCE,
}


def stall_named(name):
    """A function that blocks, of that name, in a module and a file of that name."""
    namespace = {"__name__": name, "time": time}
    exec("def stall():\n    time.sleep(0.05)\n", namespace)
    stall = namespace["stall"]
    names = {"co_name": name, "co_filename": f"/app/{name}.py"}
    if sys.version_info >= (3, 11):
        names["co_qualname"] = name
    stall.__code__ = stall.__code__.replace(**names)
    stall.__qualname__ = stall.__name__ = name
    return stall


def check(name, value):
    """One attribute, or another text."""
    for text in value if isinstance(value, tuple) else [value]:
        if isinstance(text, str):
            text.encode("utf-8")
            assert len(text) <= MAX.get(name, MAX_NAME), name
            for line in text.split("\n") if name == "code.stacktrace" else [text]:
                assert not {c for c in line if ord(c) < 32 or 127 <= ord(c) < 160}, (name, text)
                assert len(line.splitlines()) <= 1, (name, text)
                assert not {"\u202e", "\u2066"} & set(line), (name, text)


class Sent:
    """All that was emitted by one run."""

    def __init__(self, telemetry, logs, caplog):
        self.own_spans = telemetry.spans("event_loop.blocked")
        self.events = [event for _, event in telemetry.events()]
        self.logs = logs.get_finished_logs()
        self.metrics = telemetry.reader.get_metrics_data()
        self.lines = [r.getMessage() for r in caplog.records if r.name.startswith("otel_loopblock")]

    def attributes(self):
        """Name and value of each."""
        for carrier in (*self.own_spans, *self.events, *(data.log_record for data in self.logs)):
            yield from carrier.attributes.items()
        for resource in self.metrics.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        yield from point.attributes.items()

    def texts(self):
        """All of it as text."""
        for _, value in self.attributes():
            yield str(value)
        yield from self.lines
        for data in self.logs:
            yield str(data.log_record.body)


@pytest.fixture
def observe(telemetry, caplog):
    """Runs something with all forms of reports on; returns what was sent."""

    def observe(run, main, **options):
        logs = InMemoryLogRecordExporter()
        provider = LoggerProvider()
        provider.add_log_record_processor(SimpleLogRecordProcessor(logs))
        telemetry.instrument(report="all", logger_provider=provider, **options)
        with caplog.at_level(logging.WARNING, "otel_loopblock"):
            run(main)
            return Sent(telemetry, logs, caplog)

    return observe


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_names_are_sent_on_one_line_bounded_and_without_controls(
    telemetry, run, observe, caplog, kind
):
    name = HOSTILE[kind]
    stall = stall_named(name)

    async def handler():
        with telemetry.tracer.start_as_current_span(name, attributes={"http.route": name}):
            await asyncio.sleep(0)
            stall()

    async def main():
        threading.current_thread().name, before = name, threading.current_thread().name
        try:
            await asyncio.create_task(handler(), name=name)
            asyncio.get_running_loop().call_soon(stall)
            await asyncio.sleep(0.02)
        finally:
            threading.current_thread().name = before

    sent = observe(run, main())

    found = list(sent.attributes())
    beginning = {"long": "naïve名", "surrogates": "caf\\udce9"}.get(kind)
    for attribute in ("code.function.name", "code.file.path", "asyncio.task.name", "thread.name"):
        assert any(key == attribute for key, _ in found), attribute
        assert beginning is None or any(key == attribute and beginning in value for key, value in found)
    assert {"http.route", "code.stacktrace"} <= {key for key, _ in found}
    for key, value in found:
        check(key, value)
    assert any("event loop blocked" in line for line in sent.lines)
    for line in (*sent.lines, *(str(data.log_record.body) for data in sent.logs)):
        check("", line[:MAX_NAME])
        check("", line[-MAX_NAME:])
        assert len(line) <= MAX_LINE
    caplog.clear()
    encoded = (
        encode_spans(sent.own_spans).SerializeToString(),
        encode_metrics(sent.metrics).SerializeToString(),
        encode_logs(sent.logs).SerializeToString(),
    )
    assert all(encoded)
    assert not caplog.records  # the encoder leaves out what it cannot encode, and says so


def test_event_on_a_span_of_the_application_is_encoded_in_full(telemetry, run, observe, caplog):
    stall = stall_named(HOSTILE["surrogates"])

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            await asyncio.sleep(0)
            stall()

    observe(run, main())
    caplog.clear()

    encode_spans(telemetry.spans("GET /x"))

    assert not caplog.records


class NamedLike:
    """A callable that is no function: all that can be told of it is the name that it gives itself."""

    def __init__(self, name):
        self.__qualname__ = name
        self.__module__ = name

    def __call__(self):
        time.sleep(0.05)


@pytest.mark.parametrize("kind", HOSTILE)
def test_callable_that_names_itself_is_shown_no_better(telemetry, observe, kind):
    async def main():
        asyncio.get_running_loop().call_soon(NamedLike(HOSTILE[kind]))
        await asyncio.sleep(0.02)

    sent = observe(asyncio.run, main(), watchdog=False)

    names = [value for key, value in sent.attributes() if key == "code.function.name"]
    assert any(name.startswith(HOSTILE[kind][:1]) or kind == "ansi" for name in names)
    for key, value in sent.attributes():
        check(key, value)


def test_advice_of_the_application_is_one_bounded_line(telemetry, run, observe):
    async def main():
        time.sleep(0.05)

    sent = observe(run, main(), advice={"time.sleep": "Do not.\n\x1b[31m" + "Really. " * 1_000})

    found = [value for key, value in sent.attributes() if key == "event_loop.block.advice"]
    assert any(value.startswith("Do not.\\n\\x1b[31mReally.") for value in found)
    for value in found:
        check("event_loop.block.advice", value)
    assert all(len(line) <= MAX_LINE for line in sent.lines)


def test_task_that_cannot_tell_its_name_is_reported_without_one(telemetry, run, observe):
    class Nameless(asyncio.Task):
        def get_name(self):
            raise ValueError("no name")

    async def handler():
        time.sleep(0.05)

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coro, **kwargs: Nameless(coro, loop=loop, **kwargs))
        await asyncio.create_task(handler())

    sent = observe(run, main())

    names = {value for key, value in sent.attributes() if key == "code.function.name"}
    assert any(name.endswith(".handler") for name in names)


def test_type_of_a_loop_is_bounded_too(telemetry, observe):
    kind = type("L" * 10_000 + "\n", (asyncio.SelectorEventLoop,), {})

    async def main():
        time.sleep(0.05)

    def run(coroutine):
        loop = kind()
        try:
            loop.run_until_complete(coroutine)
        finally:
            loop.close()

    sent = observe(run, main())

    types = {value for key, value in sent.attributes() if key == "event_loop.type"}
    assert types
    for value in types:
        check("event_loop.type", value)


def test_names_of_files_beyond_any_path_are_not_kept():
    own_code = OwnCode()
    before = ours._is_in_package.cache_info().currsize
    for number in range(50):
        code = stall_named(f"{number}" * 10_000).__code__
        assert own_code(code, "__main__")
        assert not is_ours(code)
    assert not own_code._known
    assert ours._is_in_package.cache_info().currsize == before


# -- values ---------------------------------------------------------------------------------------

MARKER = "s3cr3t"


class Client:
    """Has values everywhere."""

    def __init__(self):
        self.password = f"{MARKER}-attribute"

    def query(self, statement, *, token):
        rows = {f"{MARKER}-key": statement}  # s3cr3t in the source
        time.sleep(0.03)
        hashlib.pbkdf2_hmac("sha256", statement.encode(), b"s3cr3t-salt", 200_000)
        text = f"{MARKER}-local" * 100_000
        for _ in range(30):
            text.replace("s3cr3t", "x")
        raise LookupError(f"{MARKER}-exception {token} {rows}")


@pytest.mark.parametrize("loop_kind", sorted(LOOPS), indirect=True)
def test_no_value_no_local_and_no_line_of_source_is_sent(telemetry, run, observe):
    client = Client()

    async def handler(statement):
        with telemetry.tracer.start_as_current_span("POST /login"):
            await asyncio.sleep(0)
            client.query(statement, token=f"{MARKER}-keyword")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        await asyncio.gather(handler(f"{MARKER}-argument"), return_exceptions=True)
        loop.call_soon(functools.partial(client.query, f"{MARKER}-partial", token=f"{MARKER}-partial"))
        loop.call_soon(functools.partial(client.query, token=f"{MARKER}-partial"), f"{MARKER}-positional")
        await asyncio.sleep(0.05)

    sent = observe(run, main(), hang_after_ms=20)

    names = {value for key, value in sent.attributes() if key == "code.function.name"}
    assert f"{__name__}.Client.query" in names
    assert any(key == "code.stacktrace" for key, _ in sent.attributes())
    for text in sent.texts():
        assert MARKER not in text
        assert "hashlib.pbkdf2_hmac(" not in text


def test_what_failed_in_us_is_told_without_its_text_and_without_source(caplog):
    caplog.set_level(logging.WARNING, "otel_loopblock")
    before = dict(guard.failures)
    try:
        try:
            raise KeyError(f"{MARKER}\nforged")
        except Exception:
            guard.failed("pass a test of the guard")
    finally:
        guard.failures.clear()
        guard.failures.update(before)

    (record,) = caplog.records
    text = logging.Formatter().format(record)
    assert "pass a test of the guard (KeyError at test_hostile_names.py:" in text
    assert MARKER not in text
    assert len(text.splitlines()) == 1


def test_what_failed_in_us_is_told_in_full_at_level_debug(caplog):
    caplog.set_level(logging.DEBUG, "otel_loopblock")
    before = dict(guard.failures)
    try:
        try:
            raise KeyError("the text")
        except Exception:
            guard.failed("pass another test of the guard")
    finally:
        guard.failures.clear()
        guard.failures.update(before)

    assert "KeyError: 'the text'" in logging.Formatter().format(caplog.records[-1])
