"""``otel-loopblock explain``: what it prints, and its exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from otel_loopblock.cli import explain, main
from otel_loopblock.cli.aliases import ABBREVIATIONS, PACKAGES
from otel_loopblock.explain.advice import AdviceTable


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")


def test_known_call_is_printed_with_advice_and_source(capsys):
    assert main(["explain", "psycopg2.connect"]) == 0

    output = capsys.readouterr().out
    assert "psycopg2.connect" in output
    assert "asyncpg" in output
    assert "https://www.psycopg.org/" in output


def test_gil_holder_is_never_sent_to_a_thread(capsys):
    assert main(["explain", "json.loads()"]) == 0

    output = capsys.readouterr().out
    assert "held while it works" in output
    assert "to_thread" not in output


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("time.slep", "time.sleep"),
        ("request.get", "requests.*"),
        ("getaddrinfo", "socket."),
        ("pandsa.read_csv", "pandas.*"),
        ("scikit-lern", "scikit-learn"),
        ("PILOW", "pillow"),
        ("redis.get", "redis."),
    ],
)
def test_unknown_call_exits_with_one_and_names_what_is_close(capsys, typo, meant):
    assert main(["explain", typo]) == 1

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert f"{typo!r} is not a known call; did you mean " in captured.err
    assert meant in captured.err


@pytest.mark.parametrize(
    ("call", "pattern"),
    [
        ("requests", "requests.*"),
        ("import", "import"),
        ("import pandas", "import"),
        ("np.linalg.inv", "numpy.linalg.*"),
        ("np", "numpy.*"),
        ("pd.read_excel", "pandas.read_excel"),
        ("plt.savefig", "matplotlib.*"),
        ("psycopg2-binary", "psycopg2.*"),
        ("scikit-learn", "sklearn.*"),
        ("python-jose", "jose.*"),
        ("beautifulsoup4", "bs4.*"),
        ("Pillow", "PIL.*"),
        ("PyJWT", "jwt.*"),
        ("google-cloud-storage", "google.cloud.storage.*"),
        ("azure-storage-blob", "azure.storage.blob.*"),
        ("sentry-sdk", "sentry_sdk.*"),
        ("stomp.py", "stomp.*"),
        ("grpcio", "grpc._channel.*"),
        ("Requests.get", "requests.*"),
    ],
)
def test_library_is_found_by_the_names_it_goes_by(capsys, call, pattern):
    assert main(["explain", call]) == 0

    output = capsys.readouterr().out
    assert output.startswith(call)
    assert re.search(rf"^ *matches:? +{re.escape(pattern)}\s*$", output, re.M), output


def test_library_names_its_calls_that_are_told_something_else(capsys):
    assert main(["explain", "polars"]) == 0

    output = capsys.readouterr().out
    assert re.search(r"see also +polars.LazyFrame.collect, polars.read_csv", output)


def test_says_when_an_entry_was_checked(capsys):
    assert main(["explain", "requests.get"]) == 0

    assert re.search(r"checked +20\d\d-\d\d", capsys.readouterr().out)


def test_every_other_name_leads_to_an_entry():
    table = AdviceTable()

    for name in (*ABBREVIATIONS, *PACKAGES):
        assert explain.find(table, name) is not None, name


def test_call_that_resembles_nothing_points_to_the_list(capsys):
    assert main(["explain", "zzzzz.qqqqq"]) == 1

    assert "--list" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["time.sleep", "--list"], ["--no-such-option"]])
def test_wrong_usage_exits_with_two(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["explain", *arguments])

    assert exit_.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_list_has_every_entry(capsys):
    assert main(["explain", "--list"]) == 0

    output = capsys.readouterr().out
    for entry in AdviceTable().entries():
        assert entry.pattern in output


def test_own_advice_from_the_environment_counts(capsys, monkeypatch):
    monkeypatch.setenv("OTEL_PYTHON_LOOPBLOCK_ADVICE", json.dumps({"mylib.call": "Use mylib.aio.call."}))

    assert main(["explain", "mylib.call"]) == 0
    assert "Use mylib.aio.call." in capsys.readouterr().out


def test_without_rich_the_same_is_printed_as_lines(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)

    assert main(["explain", "time.sleep"]) == 0
    assert "  advice: Use await asyncio.sleep(...)." in capsys.readouterr().out
    assert main(["explain", "--list"]) == 0
    assert "time.sleep: Use await asyncio.sleep(...)." in capsys.readouterr().out


def test_nothing_heavy_is_imported():
    heavy = "opentelemetry fastapi uvicorn uvloop httpx numpy asyncio"
    code = (
        "import sys; from otel_loopblock.cli import main; code = main(['explain', 'time.sleep']);"
        f"heavy = set({heavy!r}.split()) & set(sys.modules); sys.exit(repr(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr


def test_close_matches_are_three_at_most():
    assert len(explain.close_matches("get", AdviceTable().entries())) <= 3
