"""Advice of the user's own: an option, or an entry point of another package."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

import pytest

from otel_loopblock.explain.advice import AdviceTable, from_option


def block():
    time.sleep(0.05)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package that offers advice; what it offers is the argument."""

    def install(source, name="acme"):
        (tmp_path / f"{name}_advice.py").write_text(source)
        information = tmp_path / f"{name}_advice-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-advice\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(
            f"[otel_loopblock_advice]\n{name} = {name}_advice:ENTRIES\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, f"{name}_advice", raising=False)

    return install


def advice_of_a_block(telemetry, run):
    async def handler():
        with telemetry.tracer.start_as_current_span("GET /"):
            await asyncio.sleep(0)
            block()

    run(handler())
    ((_, event),) = telemetry.events()
    return event.attributes["event_loop.block.advice"]


def test_option_wins_over_the_table(telemetry, run):
    telemetry.instrument(advice={"time.sleep": "Sleep at home."})

    assert advice_of_a_block(telemetry, run) == "Sleep at home."


def test_option_from_the_environment(telemetry, run, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_LOOPBLOCK_ADVICE", json.dumps({"time.*": "Ask the scheduler."}))
    telemetry.instrument()

    assert advice_of_a_block(telemetry, run) == "Ask the scheduler."


def test_entry_point_of_an_installed_package(telemetry, run, package):
    package('ENTRIES = {"time.sleep": "Use acme.sleep."}')
    telemetry.instrument()

    assert advice_of_a_block(telemetry, run) == "Use acme.sleep."


def test_entry_point_may_offer_records(package):
    package(
        "from otel_loopblock.explain.advice import KnownCall\n"
        'ENTRIES = [KnownCall("acme.*", "Use acme.aio.", "network", None, "https://acme.example/aio")]'
    )
    table = AdviceTable()
    table.load_entry_points()

    assert table.advise("wait", "acme.fetch") == "Use acme.aio."
    assert "acme.aio" not in table.advise("gil_held", "acme.fetch")


def test_entry_point_that_fails_is_left_out_and_logged(package, caplog):
    package("raise RuntimeError('broken')", name="broken")
    package('ENTRIES = {"acme.call": "Use acme.aio."}')
    table = AdviceTable()

    with caplog.at_level(logging.WARNING, "otel_loopblock"):
        table.load_entry_points()

    assert table.advise("wait", "acme.call") == "Use acme.aio."
    (record,) = caplog.records
    assert "'broken'" in record.getMessage()
    assert "RuntimeError: broken" in record.getMessage()


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ({"no good": "Do."}, "'no good': the key must be a dotted name"),
        ({"a.b": " "}, "'a.b': the value must be a sentence"),
        (["a.b"], "must be a mapping"),
    ],
)
def test_what_cannot_be_used_is_named(mapping, complaint):
    with pytest.raises(ValueError, match=complaint):
        from_option(mapping)


def test_bad_option_is_one_clear_error_and_changes_nothing(telemetry):
    with pytest.raises(ValueError, match="advice="):
        telemetry.instrument(advice={"time.sleep": ""})
