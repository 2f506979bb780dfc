"""``otel-loopblock run``: wrong usage, and what is missing. Real runs are in ``tests/run``."""

from __future__ import annotations

import pytest

from otel_loopblock import cli


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no command: otel-loopblock run -- uvicorn app:app"),
        (["--"], "no command"),
        (["--fail-over", "50", "--", "uvicorn"], "'50' is not a time such as 50ms or 0.2s"),
        (["--fail-over", "-1ms", "--", "uvicorn"], "expected one argument"),
        (["--fail-over", "0s", "--", "uvicorn"], "'0s' is not a time"),
        (["--threshold-ms", "none", "--", "uvicorn"], "'none' is not a number of milliseconds above 0"),
        (["--html", "/no/such/folder/page.html", "--", "uvicorn"], "cannot be written"),
        (["--json", "/tmp", "--", "uvicorn"], "'/tmp' cannot be written"),
    ],
)
def test_wrong_usage_is_explained(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["run", *arguments])
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_missing_extra_is_one_line(monkeypatch, capsys):
    installed = cli._is_installed
    monkeypatch.setattr(cli, "_is_installed", lambda name: name != "rich" and installed(name))
    assert cli.main(["run", "--", "uvicorn", "app:app"]) == 2
    assert capsys.readouterr().err == (
        "otel-loopblock run: rich not installed; pip install 'otel-loopblock[run]', "
        "or in a clone pip install '.[run]'\n"
    )
