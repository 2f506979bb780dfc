"""How tests are compared, and that what must not be is seen: on suites made up for it."""

from __future__ import annotations

import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.compat.__main__ import main
from tests.compat.compare import Comparison, Difference, Run, compare, differing
from tests.compat.suites.environment import Environment
from tests.compat.suites.plugin import explained
from tests.compat.suites.run import run
from tests.compat.suites.table import SUITES, Suite

SAME = """
import asyncio, pytest
def test_passes(): asyncio.run(asyncio.sleep(0))
def test_fails(): assert False
def test_is_skipped(): pytest.skip()
@pytest.mark.xfail
def test_fails_as_expected(): assert False
@pytest.fixture
def broken(): raise OSError
def test_has_no_setup(broken): pass
"""
ON = """
from otel_loopblock import LoopBlockInstrumentor
ON = LoopBlockInstrumentor().is_instrumented_by_opentelemetry
"""
DIFFERS = """
def test_passes(): pass
def test_knows_us(): assert not ON, "it is on"
"""
FLAKY = """
import os
def test_first_time_only():
    seen = os.path.exists("seen")
    if ON:
        open("seen", "w")
        assert seen
"""
SIGNALS = """
import signal
def test_default():
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
LISTENS = """
import asyncio, time
def test_no_line(caplog):
    async def blocks(): time.sleep(0.05)
    asyncio.run(blocks())
    time.sleep(0.5 if ON else 0)  # the line is another thread's
    assert caplog.records == []
"""
FAILS = """
from otel_loopblock import guard
def test_fails_inside():
    if ON:
        try:
            raise KeyError("inside")
        except Exception:
            guard.failed("do something")
"""
DIES = """
import os
def test_before(): pass
def test_dies(): os._exit(3) if ON else None
"""
HANGS = """
import os, subprocess, time
def test_hangs():
    if ON:
        child = subprocess.Popen(["sleep", "600"])
        open("child", "w").write(str(child.pid))
        time.sleep(600)
"""


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """Compare the tests of one file, off and at 1 ms."""
    monkeypatch.setattr("tests.compat.compare.RERUNS", 1)

    def compared(tests: str, timeout_s: float = 60) -> Comparison:
        (tmp_path / "test_it.py").write_text(ON + tests)
        suite = Suite("made-up", "1", (), tests=("test_it.py",), timeout_s=timeout_s)
        return compare("made-up", ("1 ms",), partial(run, suite, Environment(Path(sys.executable), tmp_path)))

    return compared


def test_what_comes_out_the_same_is_no_difference(compared):
    found = compared(SAME)

    for way in ("off", "1 ms"):
        outcomes = {
            test.rpartition("::")[2]: outcome for test, (outcome, _) in found.runs[way].outcomes.items()
        }
        assert outcomes == {
            "test_passes": "ok",
            "test_fails": "failed",
            "test_is_skipped": "skipped",
            "test_fails_as_expected": "ok",
            "test_has_no_setup": "error",
        }
    assert found.faults() == []
    assert found.runs["off"].package is None
    assert found.runs["1 ms"].package["failures"] == {}


def test_difference_that_stays_is_a_fault(compared):
    found = compared(DIFFERS)

    (difference,) = found.differences
    assert difference.kind == "differs"
    assert difference.off == ("ok", "ok")
    assert difference.on == ("failed", "failed")
    assert [str(difference)] == found.faults()
    assert "it is on" in str(difference)


def test_difference_that_goes_away_is_flaky(compared):
    found = compared(FLAKY)

    (flaky,) = found.differences
    assert flaky.kind == "flaky"
    assert flaky.on == ("failed", "ok")
    assert found.faults() == []


def test_what_changes_by_itself_is_flaky():
    assert Difference("test", "1 ms", ("failed", "ok"), ("ok", "failed"), "").kind == "flaky"
    assert Difference("test", "1 ms", ("ok", "ok"), ("failed", "failed"), "").kind == "differs"


def test_difference_that_is_explained_is_no_fault_and_its_reason_said():
    def run(way, tests):
        return Run({"counts spans": ("ok" if way == "off" else "failed", ""), "passes": ("ok", "")}, None)

    found = compare("spans", ("1 ms",), run, {"counts spans": "ours are among them"})

    (difference,) = found.of_kind("explained")
    assert "ours are among them" in str(difference)
    assert found.faults() == []


def test_process_heeds_signals_that_a_job_in_the_background_ignores(compared):
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGHUP, signal.SIGINT)]
    try:
        assert compared(SIGNALS).faults() == []
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def test_process_that_dies_is_a_fault_and_says_in_which_test(compared):
    (fault,) = compared(DIES).faults()

    assert "test_dies" in fault
    assert "exit code 3" in fault


def test_process_that_hangs_is_ended_with_what_it_has_started(compared, tmp_path):
    (fault,) = compared(HANGS, timeout_s=10).faults()

    assert "test_hangs" in fault
    assert "not over after 10 s" in fault
    child = Path("/proc", (tmp_path / "child").read_text(), "stat")
    deadline = time.monotonic() + 10
    while child.exists() and child.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_differences_are_those_of_the_outcome_not_of_the_reason():
    off = Run(
        {"same": ("ok", ""), "skipped": ("skipped", "a"), "fails": ("ok", ""), "gone": ("ok", "")}, None
    )
    on = Run(
        {"same": ("ok", ""), "skipped": ("skipped", "b"), "fails": ("failed", ""), "new": ("ok", "")}, None
    )

    assert differing(off, on) == ["fails", "gone", "new"]


def test_lines_of_ours_do_not_reach_those_who_listen(compared):
    assert compared(LISTENS).faults() == []


def test_many_differences_are_no_chance_and_not_run_again():
    asked = []

    def run(way, tests):
        asked.append(tests)
        return Run({f"test_{n}": ("ok" if way == "off" else "failed", "") for n in range(30)}, None)

    assert len(compare("many", ("1 ms",), run).of_kind("differs")) == 30
    assert asked == [(), ()]


def test_failure_of_the_package_is_a_fault():
    off = Run({"test": ("ok", "")}, None)
    on = Run({"test": ("ok", "")}, {"failures": {"emit": 1}, "tracebacks": ["at line 7"]})

    assert Comparison("suite", {"off": off, "1 ms": on}).faults() == [
        "the package has failed in suite, 1 ms: {'emit': 1}\nat line 7"
    ]


def test_failure_of_the_package_comes_with_its_traceback(compared):
    found = compared(FAILS)

    assert "KeyError: 'inside'" in found.faults()[0]


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        ("uvicorn/config.py:7: load blocked the event loop for 31 ms in import (cpu).\n  File", "explained"),
        ("tests/test_main.py:7: client blocked the event loop for 31 ms (cpu). Use it.", "differs"),
        ("assert 1 == 2", "differs"),
        ("E   uvicorn is gone\nuvicorn/config.py:7: load blocked the event loop for 31 ms", "differs"),
    ],
)
def test_failure_for_a_line_of_the_project_is_explained_by_its_culprit(why, kind):
    suite = Suite("uvicorn", "1", ())
    found = explained(Difference("test", "plugin", ("ok",), ("failed",), why), suite)

    assert found.kind == kind
    assert (why.partition("\n")[0] == found.reason) == (kind == "explained")


def test_suites_that_do_not_run_at_all_are_a_fault(compared):
    assert compared("import nothing_of_this_name").faults() == [
        "no test of made-up passes without the package either"
    ]


def test_suite_that_is_not_there_is_said(capsys):
    assert main(["--suites", "nothing"]) == 2
    said = capsys.readouterr().err
    assert "nothing" in said
    assert all(suite.name in said for suite in SUITES)
