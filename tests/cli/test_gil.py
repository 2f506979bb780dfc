"""``otel-loopblock gil``: what it prints, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from otel_loopblock.cli import main


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module ``measured`` in the current directory."""
    (tmp_path / "measured.py").write_text(
        "import time\n"
        "NUMBER = 7\n"
        "class Model:\n"
        "    @staticmethod\n"
        "    def predict(*, seconds): time.sleep(seconds)\n"
        "async def handler(): pass\n"
        "def fails(): raise LookupError('no\\nsuch key')\n"
        "def leaves(): raise SystemExit(3)\n"
    )
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "leaving.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "wrong.py").write_text("def (\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("measured", "broken", "leaving", "wrong"):
        sys.modules.pop(name, None)


def lines_of(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_report_for_people(capsys):
    code = main(["gil", "time:sleep", "--args", "[0.01]", "--max-seconds", "30"])
    out = capsys.readouterr().out
    verdict = out.splitlines()[0]
    assert (code, verdict) in [(0, "time:sleep: waits"), (1, "time:sleep: inconclusive")]
    assert "speed-up" in out


def test_report_as_json_of_a_method_with_keywords(module, capsys):
    arguments = ["--args", '{"seconds": 0.01}', "--workers", "2", "--json"]
    code = main(["gil", "measured:Model.predict", *arguments])
    report = json.loads(capsys.readouterr().out)
    assert report["function"] == "measured:Model.predict"
    assert (code, report["verdict"]) in [(0, "waits"), (1, "inconclusive")]
    assert report["workers"] == 2


def test_inconclusive_is_exit_code_1_and_still_json(capsys):
    code = main(["gil", "time:sleep", "--args", "[2]", "--max-seconds", "0.3", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (code, report["verdict"], report["speed_up"]) == (1, "inconclusive", None)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no_such_module:f"], 2, "cannot import 'no_such_module': ModuleNotFoundError: No module named"),
        (["broken:f"], 2, "cannot import 'broken': ModuleNotFoundError: No module named 'no_such_module'"),
        (["leaving:f"], 2, "cannot import 'leaving': SystemExit: 0"),
        (["wrong:f"], 2, "cannot import 'wrong': SyntaxError"),
        (["measured"], 2, "'measured' is not of the form module:attribute"),
        (["measured:"], 2, "'measured:' is not of the form module:attribute"),
        (["measured:Model.fit"], 2, "'measured' has no attribute 'Model.fit'"),
        (["measured:NUMBER"], 2, "7 is not callable"),
        (["measured:handler"], 2, "handler is a coroutine function"),
        (["time:sleep", "--args", "0.1"], 2, "--args='0.1' is neither a JSON array nor an object"),
        (["time:sleep", "--args", "[0.1"], 2, "--args='[0.1' is not JSON"),
        (["time:sleep", "--workers", "1"], 2, "workers=1 cannot be used"),
        (["time:sleep", "--max-seconds", "-1"], 2, "max_seconds=-1.0 cannot be used"),
        (["measured:fails"], 3, "measured:fails raised LookupError: no such key"),
        (["measured:leaves"], 3, "measured:leaves raised SystemExit: 3"),
        (["time:sleep", "--args", '["x"]'], 3, "time:sleep raised TypeError"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(module, capsys, arguments, code, message):
    assert main(["gil", *arguments]) == code
    (line,) = lines_of(capsys)
    assert line.startswith("otel-loopblock gil: ")
    assert message in line


def test_command_finds_modules_of_the_current_directory(module):
    command = [sys.executable, "-m", "otel_loopblock.cli", "gil", "measured:fails"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=module)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "otel-loopblock gil: measured:fails raised LookupError: no such key\n"
