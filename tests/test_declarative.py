"""Declarative configuration: a real file under ``opentelemetry-instrument``, as a user has it."""

from __future__ import annotations

import dataclasses
import logging
import typing

import pytest

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.config import Config
from otel_loopblock.declarative import Configuration
from otel_loopblock.local.receiver import ReceiverProcess
from tests.service.running import Service

pytest.importorskip("opentelemetry.configuration")

FILE = """\
file_format: "1.0"
tracer_provider:
  processors:
    - batch:
        schedule_delay: 200
        exporter:
          otlp_http:
            endpoint: {endpoint}/v1/traces
propagator:
  composite: [tracecontext: {{}}]
instrumentation/development:
  python:
    loopblock:
"""
PATH = "block_then_return"


def test_every_option_is_there_with_its_type_and_none_is_given():
    assert LoopBlockInstrumentor.configuration is Configuration
    assert dataclasses.is_dataclass(Configuration)
    assert set(dataclasses.asdict(Configuration()).values()) == {None}
    types = typing.get_type_hints(Config)
    assert typing.get_type_hints(Configuration) == {name: kind | None for name, kind in types.items()}


def test_what_can_be_used_is_kept_and_the_rest_is_warned_about(caplog):
    with caplog.at_level(logging.WARNING, "otel_loopblock"):
        found = Configuration(threshold_ms=-1, ignore=["app.legacy.*"], treshold_ms=5, watchdog=False)

    assert (found.threshold_ms, found.ignore, found.watchdog) == (None, ["app.legacy.*"], False)
    unknown, wrong = (record.getMessage() for record in caplog.records)
    assert "unknown option 'treshold_ms'; did you mean 'threshold_ms'?" in unknown
    assert "threshold_ms: -1 cannot be used; it must be" in wrong


@pytest.fixture
def observed(tmp_path):
    """Calls for options as a file has them: the span of a request that blocked, and what the service said."""

    def observe(*lines, **environ):
        with ReceiverProcess() as receiver:
            file = tmp_path / "otel.yaml"
            text = FILE.format(endpoint=receiver.endpoint)
            file.write_text(text + "".join(f"      {line}\n" for line in lines))
            with Service(
                "tests.service.scenarios:app",
                loop="asyncio",
                endpoint=receiver.endpoint,
                environ={"OTEL_CONFIG_FILE": str(file), "OTEL_PYTHON_LOOPBLOCK_REPORT": "event", **environ},
            ) as service:
                service.get(f"/{PATH}")
                spans = receiver.wait_for_spans(lambda spans: [s for s in spans if s.name == f"GET /{PATH}"])
            (span,) = (span for span in spans if span.name == f"GET /{PATH}")
            return span, service.output()

    return observe


def settings(span):
    """Threshold and depth of the stack of the blocks on a span; on a busy machine there may be several."""
    return {
        (event.attributes["event_loop.block.threshold"], event.attributes["code.stacktrace"].count("File "))
        for event in span.events
        if event.name == "event_loop.blocked"
    }


def test_options_of_the_file_count_and_the_environment_gives_the_others(observed):
    span, output = observed(
        "threshold_ms: 21", OTEL_PYTHON_LOOPBLOCK_THRESHOLD_MS="22", OTEL_PYTHON_LOOPBLOCK_STACK_DEPTH="1"
    )

    assert settings(span) == {(0.021, 1)}
    assert "cannot be used" not in output


def test_nothing_is_instrumented_where_the_file_says_so(observed):
    span, _ = observed("enabled: false", "threshold_ms: 21")

    assert not settings(span)


def test_service_starts_with_one_warning_where_a_value_cannot_be_used(observed):
    span, output = observed("threshold_ms: ten", "stack_depth: 1")

    assert settings(span) == {(Config().threshold_s, 1)}
    assert output.count("In OTEL_CONFIG_FILE, loopblock: ") == 1
    assert "threshold_ms: 'ten' cannot be used; it must be a finite number" in output
    assert "Traceback" not in output
