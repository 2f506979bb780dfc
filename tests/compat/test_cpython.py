"""CPython's own tests of asyncio come out the same with the package on."""

from __future__ import annotations

import sys

import pytest

from tests.compat.__main__ import main
from tests.compat.compare import Missing, Run, compare, differing, modules_of

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
    found = compare(sys.executable, module)

    assert found.differing == [], {test: found.on.outcomes.get(test) for test in found.differing}
    assert found.on.package["failures"] == {}
    assert found.on.count("ok") > 0


def test_differences_are_those_of_the_outcome_not_of_the_reason():
    off = Run(
        {"same": ("ok", ""), "skipped": ("skipped", "a"), "fails": ("ok", ""), "gone": ("ok", "")}, None
    )
    on = Run(
        {"same": ("ok", ""), "skipped": ("skipped", "b"), "fails": ("failed", ""), "new": ("ok", "")}, None
    )

    assert differing(off, on) == ["fails", "gone", "new"]


def test_what_cannot_be_run_is_said(capsys):
    assert main(["--python", sys.executable, "test_nothing"]) == 2
    assert sys.executable in capsys.readouterr().err


def test_module_that_ends_the_process_is_no_success(monkeypatch, capsys):
    crashed = Run({"test_locks": ("error", "exit code -11")}, None)
    monkeypatch.setattr("tests.compat.compare.run", lambda *args: crashed)
    monkeypatch.setattr("tests.compat.__main__.modules_of", lambda *args: ["test_locks"])

    assert main(["test_locks"]) == 1
    assert "exit code -11" in capsys.readouterr().out
