"""``otel-loopblock bench``: a real server under real load, and the exit codes."""

from __future__ import annotations

import json
import socket

import pytest

from otel_loopblock.cli import main

APP = "tests.bench.app:app"
BRIEF = ("--seconds", "1.5", "--rate", "20")


def bench(*arguments):
    try:
        return main(["bench", *arguments])
    except SystemExit as end:
        return end.code


def test_blocking_target_makes_the_probe_late_and_is_named(tmp_path, loop_kind, capsys):
    figures, report = tmp_path / "figures.json", tmp_path / "report.html"
    files = ("--json", str(figures), "--html", str(report))
    assert bench(APP, "--target", "/block", "--concurrency", "4", "--loop", loop_kind, *BRIEF, *files) == 0
    (run,) = json.loads(figures.read_text())
    idle, loaded = run["stages"]
    assert (run["loop"], idle["step"]["concurrency"], loaded["step"]["concurrency"]) == (loop_kind, 0, 4)
    assert idle["target"] is None
    assert loaded["probe"]["p99_s"] > 0.03
    assert loaded["probe"]["count"] == 30  # each one that was due
    assert 1 < loaded["throughput"] <= 1 / 0.03
    assert loaded["target"]["p50_s"] >= 0.03
    assert sum(loaded["lag"]["counts"]) > 0
    blamed = [blocks["function"] for blocks in loaded["blocks"]]
    assert any("block" in function for function in blamed), blamed
    out = capsys.readouterr().out
    assert "Blocks of 10 ms or more" in out
    assert "tests.bench.app.block" in out
    assert "<svg" in report.read_text()


def test_body_is_posted_to_the_target(tmp_path):
    figures = tmp_path / "figures.json"
    body = ("--body", '{"a": 1}', "--concurrency", "1", "--json", str(figures))
    assert bench(APP, "--target", "/predict", *body, "--loop", "asyncio", "--seconds", "0.5") == 0
    (run,) = json.loads(figures.read_text())
    assert run["stages"][1]["target"]["count"] > 0
    assert run["stages"][1]["target_errors"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("no_such_module:app", "--target", "/x"), 2, "no_such_module:app did not start on asyncio: "),
        (("tests.bench.app:nothing", "--target", "/x"), 2, 'Attribute "nothing" not found'),
        (("tests.bench.app:unable", "--target", "/x"), 1, "no database"),
        ((APP, "--target", "/missing"), 2, "the app has no endpoint GET /missing: it answers 404"),
        ((APP, "--target", "/predict"), 2, "the app has no endpoint GET /predict: it answers 405"),
        ((APP, "--target", "/block", "--probe", "/missing"), 2, "the app has no endpoint GET /missing"),
        ((APP, "--target", "/fail"), 1, "GET /fail answers 500"),
        ((APP, "--target", "/die"), 1, "GET /die was not answered: "),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(arguments, code, message, capsys):
    assert bench(*arguments, "--loop", "asyncio") == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("otel-loopblock bench: ")
    assert message in line


def test_port_in_use_is_one_clear_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert bench(APP, "--target", "/block", "--port", str(port)) == 2
    assert (
        capsys.readouterr().err
        == f"otel-loopblock bench: port {port} cannot be used: Address already in use\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "MODULE:APP and --target are needed, or --example"),
        ((APP,), "MODULE:APP and --target are needed, or --example"),
        ((APP, "--example"), "--example comes with its own application"),
        ((APP, "--target", "predict"), "'predict' does not begin with /"),
        ((APP, "--target", "/x", "--concurrency", "1,0"), "'1,0' is not a list of whole numbers"),
        ((APP, "--target", "/x", "--seconds", "nan"), "'nan' is not a number above 0"),
        ((APP, "--target", "/x", "--body", "{"), "'{' is not JSON"),
        ((APP, "--target", "/x", "--html", "/no/such/folder/x"), "cannot be written: No such file"),
    ],
)
def test_wrong_usage_is_told_by_the_parser(arguments, message, capsys):
    assert bench(*arguments) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
