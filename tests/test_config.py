"""Options: keyword over environment over default; bad values as DESIGN.md says."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.config import Config, option_help


def test_keyword_wins_over_environment_and_environment_over_default():
    environ = {"OTEL_PYTHON_LOOPBLOCK_THRESHOLD_MS": "25", "OTEL_PYTHON_LOOPBLOCK_STACK_DEPTH": "7"}

    config = Config.load({"threshold_ms": 50}, environ)

    assert (config.threshold_ms, config.stack_depth, config.max_events_per_span) == (50.0, 7, 16)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold_ms", 0),
        ("threshold_ms", -1),
        ("threshold_ms", "ten"),
        ("threshold_ms", float("nan")),
        ("threshold_ms", True),
        ("heartbeat_interval_ms", -0.1),
        ("watchdog", "maybe"),
        ("stack_depth", 0),
        ("stack_depth", 2.5),
        ("max_events_per_second", 0),
        ("max_events_per_span", "many"),
        ("report", "email"),
        ("ignore", 5),
        ("app_paths", [1]),
        ("hang_after_ms", float("inf")),
        ("saturation_ms", -1),
        ("saturation_ms", "never"),
        ("advice", "not json"),
        ("advice", {"call": 1}),
    ],
)
def test_bad_keyword_is_an_error_that_names_option_value_and_what_is_allowed(name, value):
    with pytest.raises(ValueError, match=f"{name}=.*must be") as caught:
        Config.load({name: value}, {})

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold_ms", "-3"),
        ("watchdog", "maybe"),
        ("report", "email"),
        ("stack_depth", "1.5"),
        ("advice", "[]"),
    ],
)
def test_bad_environment_value_is_one_warning_and_the_default(name, value, caplog):
    variable = f"OTEL_PYTHON_LOOPBLOCK_{name.upper()}"

    with caplog.at_level(logging.WARNING, "otel_loopblock"):
        config = Config.load({}, {variable: value})

    assert getattr(config, name) == getattr(Config(), name)
    (record,) = caplog.records
    assert variable in record.getMessage()
    assert value in record.getMessage()
    assert "must be" in record.getMessage()


def test_empty_environment_value_counts_as_not_set(caplog):
    assert Config.load({}, {"OTEL_PYTHON_LOOPBLOCK_THRESHOLD_MS": " "}) == Config()
    assert not caplog.records


def test_unknown_keyword_suggests_the_right_one():
    with pytest.raises(ValueError, match="did you mean 'threshold_ms'"):
        Config.load({"treshold_ms": 10}, {})


def test_lists_are_comma_separated_in_the_environment():
    config = Config.load({}, {"OTEL_PYTHON_LOOPBLOCK_IGNORE": "app.a.*, app.b"})

    assert config.ignore == ("app.a.*", "app.b")


def test_advice_is_json_in_the_environment():
    config = Config.load({}, {"OTEL_PYTHON_LOOPBLOCK_ADVICE": '{"mylib.call": "Use mylib.acall."}'})

    assert config.advice == {"mylib.call": "Use mylib.acall."}


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "False"])
def test_words_for_off(word):
    assert Config.load({}, {"OTEL_PYTHON_LOOPBLOCK_WATCHDOG": word}).watchdog is False


def test_every_option_has_a_variable_and_a_text():
    listed = option_help()

    assert [name for name, *_ in listed] == [f.name for f in dataclasses.fields(Config)]
    assert all(variable == f"OTEL_PYTHON_LOOPBLOCK_{name.upper()}" for name, variable, _, _ in listed)
    assert all(text for *_, text in listed)


def test_instrument_with_a_bad_keyword_raises_and_leaves_nothing_behind(telemetry):
    with pytest.raises(ValueError, match="threshold_ms"):
        telemetry.instrument(threshold_ms="soon")

    assert not LoopBlockInstrumentor().is_instrumented_by_opentelemetry


def test_bad_reconfiguration_keeps_the_former_one(telemetry):
    telemetry.instrument(threshold_ms=20)

    with pytest.raises(ValueError, match="report"):
        telemetry.instrument(report="email")

    assert LoopBlockInstrumentor().is_instrumented_by_opentelemetry


def test_advice_from_the_environment_that_cannot_be_used_does_not_stop_instrumenting(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_PYTHON_LOOPBLOCK_ADVICE", '{"not a name": "Do something."}')

    LoopBlockInstrumentor().instrument()
    LoopBlockInstrumentor().uninstrument()

    (record,) = [record for record in caplog.records if record.name == "otel_loopblock"]
    assert "not a name" in record.getMessage()


@pytest.mark.parametrize(
    ("given", "forms"),
    [
        ("event", ("event",)),
        (" Span , event ", ("event", "span")),
        ("all", ("event", "span", "log")),
        (["log", "span"], ("span", "log")),
        (("event", "span"), ("event", "span")),
    ],
)
def test_report_is_a_list_of_forms(given, forms):
    assert Config.load({"report": given}, environ={}).report == forms


@pytest.mark.parametrize("given", ["", ",", "event,email", ["event", 3], 7, []])
def test_report_of_another_form_is_refused(given):
    with pytest.raises(ValueError, match=r"report=.*event, span, log, or all"):
        Config.load({"report": given}, environ={})
