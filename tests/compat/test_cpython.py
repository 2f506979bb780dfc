"""CPython's own tests of asyncio come out the same with the package on."""

from __future__ import annotations

import sys

import pytest

from tests.compat.__main__ import main
from tests.compat.compare import Missing, Run
from tests.compat.cpython import compare_module, modules_of

QUICK = (
    "test_base_events",
    "test_futures2",
    "test_locks",
    "test_queues",
    "test_runners",
    "test_selector_events",
    "test_streams",
    "test_tasks",
    "test_timeouts",
)
"""Loops with a virtual clock, mocks, real loops; the command runs all of them."""


@pytest.mark.parametrize("module", QUICK)
def test_same_comes_out_with_the_package_on(module):
    try:
        if module not in modules_of(sys.executable):
            pytest.skip(f"this Python has no {module}")
    except Missing as missing:
        pytest.skip(str(missing))
    found = compare_module(sys.executable, module)

    assert found.faults() == []
    assert found.runs["1 ms"].count("ok") > 0


def test_what_cannot_be_run_is_said(capsys):
    assert main(["--python", sys.executable, "test_nothing"]) == 2
    assert sys.executable in capsys.readouterr().err


def test_module_that_ends_the_process_is_no_success(monkeypatch, capsys):
    crashed = Run({}, None, "exit code -11")
    monkeypatch.setattr("tests.compat.cpython.run", lambda *args: crashed)
    monkeypatch.setattr("tests.compat.__main__.modules_of", lambda *args: ["test_locks"])

    assert main(["test_locks"]) == 1
    assert "exit code -11" in capsys.readouterr().out
