"""``otel-loopblock demo``: wrong usage, exit codes, and real short runs on both loops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from otel_loopblock import cli
from otel_loopblock.demo import session
from otel_loopblock.local.receiver import ReceiverProcess
from tests.demo.records import whole_run

COMMAND = [sys.executable, "-m", "otel_loopblock.cli", "demo"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--loop", "trio"], "invalid choice: 'trio'"),
        (["--duration", "soon"], "'soon' is not a number"),
        (["--duration", "nan"], "'nan' is not a number"),
        (["--duration", "1"], "1 is not from 4 to 30 seconds"),
        (["--duration", "3600"], "3600 is not from 4 to 30 seconds"),
        (["--threshold-ms", "0"], "0 is not above 0"),
        (["--threshold-ms", "-5"], "-5 is not above 0"),
        (["--threshold-ms", "500"], "500 is not above 0 and up to 40 ms"),
        (["--endpoint", "localhost:4318"], "'localhost:4318' is not a URL such as http://localhost:4318"),
        (["--endpoint", "http://localhost:port"], "is not a URL"),
        (["--endpoint", "http://localhost:4318/v1/traces"], "give what stands before /v1"),
        (["--svg", "/no/such/folder/demo.svg"], "'/no/such/folder/demo.svg' cannot be written"),
        (["--svg", "/tmp"], "'/tmp' cannot be written"),
    ],
)
def test_wrong_usage_is_explained(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["demo", *arguments])
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_exit_code_is_0_when_all_was_seen(monkeypatch, capsys):
    monkeypatch.setattr(session, "observe", lambda console, **options: whole_run())
    assert cli.main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert "What blocked the loop" in out
    assert err == ""


def test_exit_code_is_1_when_something_was_missing(monkeypatch, capsys):
    monkeypatch.setattr(session, "observe", lambda console, **options: whole_run(metrics=[]))
    assert cli.main(["demo"]) == 1
    out, err = capsys.readouterr()
    assert " ".join(out.split()).count("was not received") == 2
    assert err == "otel-loopblock demo: 2 of 13 promises not kept\n"


def test_service_that_does_not_start_is_one_clear_message(monkeypatch, capsys):
    monkeypatch.setattr(session, "APP", "no_such_module:app")
    assert cli.main(["demo", "--duration", "4"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("otel-loopblock demo: the service did not start")
    assert "no_such_module" in err
    assert "Traceback" not in err


def test_collector_that_does_not_answer_is_one_clear_line(capsys):
    assert cli.main(["demo", "--endpoint", "http://127.0.0.1:9"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("otel-loopblock demo: no OTLP receiver answers at http://127.0.0.1:9: ")


def test_run_shows_all_that_it_promises(loop_kind, tmp_path):
    picture = tmp_path / "demo.svg"
    done = subprocess.run(
        [*COMMAND, "--loop", loop_kind, "--duration", "6", "--svg", picture],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"--loop {loop_kind}" in done.stdout
    for name in ("charge_card", "best_bundle", "top_customers", "cheapest_product"):
        assert name in done.stdout
    assert "NO " not in done.stdout
    assert done.stderr == ""
    assert picture.read_text().startswith("<svg")


def test_run_with_a_collector_says_where_to_look():
    with ReceiverProcess() as collector:
        done = subprocess.run(
            [*COMMAND, "--duration", "4", "--endpoint", f"{collector.endpoint}/"],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "COLUMNS": "200"},
        )
        spans = collector.spans()
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (
        line for line in done.stdout.splitlines() if "GET /blocking/payment" in line and "trace" in line
    )
    trace_id = next(word.rstrip(":") for word in line.split() if len(word) >= 32)
    named = [span for span in spans if span.trace_id == trace_id]
    assert any(span.events_named("event_loop.blocked") for span in named)
    assert {span.resource["service.name"] for span in spans} == {session.SERVICE_NAME}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "stage"),
    [(signal.SIGTERM, "done start an OTLP receiver"), (signal.SIGINT, "done start opentelemetry-instrument")],
)
def test_interrupted_run_leaves_no_process(number, stage, tmp_path):
    mark = uuid.uuid4().hex
    log = tmp_path / "out"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*COMMAND, "--duration", "8"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OF_TEST": mark, "PYTHONUNBUFFERED": "1"},
        )
    deadline = time.monotonic() + 60
    while stage not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    time.sleep(0.5)
    assert len(_marked(mark)) > 1

    process.send_signal(number)
    process.send_signal(number)  # one who is impatient must not keep it from cleaning up

    assert process.wait(30) == 130
    assert _marked(mark) == []
    assert "Traceback" not in log.read_text()


def _marked(mark):
    """The processes that carry a mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if f"OF_TEST={mark}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
