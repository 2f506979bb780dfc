"""``make check-cost`` says no when the package has become dearer, and says what has."""

from __future__ import annotations

import json

import pytest

from benchmarks.cost import __main__ as command
from benchmarks.cost import budget, counting

PYTHON, UVLOOP = "3.11.2 (Debian's)", "0.23.0"
WORK = ("callback", "task step")


def counted(on, *, core="pure"):
    """Results as ``measure`` gives them: 1,000 instructions without the package, ``on`` with it."""
    ours = {loop: {"off": dict.fromkeys(WORK, 1000.0), core: dict(on)} for loop in counting.LOOPS}
    return {"date": "2026-11-29", "python": PYTHON, "uvloop": UVLOOP, "machine": "here", "ours": ours}


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Run the command with such counts against budgets of 1.1 and 1.2."""
    file = tmp_path / "budget.json"
    ratios = {
        budget.key(loop, work, "pure"): ratio
        for loop in counting.LOOPS
        for work, ratio in zip(WORK, (1.1, 1.2), strict=True)
    }
    budget.write(budget.Budget(PYTHON, UVLOOP, ratios, {}), file)
    read, write = budget.read, budget.write
    monkeypatch.setattr(budget, "read", lambda *_: read(PYTHON, file))
    monkeypatch.setattr(budget, "write", lambda new: write(new, file))
    monkeypatch.setattr(counting, "require", lambda **_: None)

    def run(results, *args, core="pure"):
        monkeypatch.setattr("sys.argv", ["cost", *(args or ["--check"]), "--core", core])
        monkeypatch.setattr(command, "measure", lambda args, cores: results)
        return command.main()

    run.file = file
    return run


def test_within_the_budget_it_passes(check, capsys):
    assert check(counted({"callback": 1100.0, "task step": 1223.0})) == 0
    assert "0 over budget" in capsys.readouterr().out


def test_three_percent_over_it_fails_and_says_what_and_by_how_much(check, capsys):
    assert check(counted({"callback": 1133.0, "task step": 1200.0})) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"over budget: {loop}, callback, pure: 1.133 of the bare loop, budget 1.100: 3.0% over"
        for loop in counting.LOOPS
    ]


def test_much_cheaper_passes_with_a_note_to_lower_the_budget(check, capsys):
    assert check(counted({"callback": 1000.0, "task step": 1200.0})) == 0
    assert "asyncio, callback, pure: 1.000, budget 1.100: 9.1% less" in capsys.readouterr().out


def test_work_without_a_budget_fails(check, capsys):
    assert check(counted({"callback": 900.0, "task step": 900.0}, core="native"), core="native") == 1
    assert "asyncio, callback, native: no budget" in capsys.readouterr().err


def test_a_core_that_is_not_there_is_named(check, capsys):
    native = counted({"callback": 900.0, "task step": 900.0}, core="native")
    assert check(native, "--write", core="native") == 0

    assert check(counted({"callback": 1100.0, "task step": 1200.0})) == 0
    assert "the native core has budgets and was not measured" in capsys.readouterr().out


def test_writing_the_budgets_of_one_core_keeps_those_of_the_other(check):
    check(counted({"callback": 900.0, "task step": 950.0}, core="native"), "--write", core="native")

    ratios = json.loads(check.file.read_text())["3.11"]["ratios"]
    assert ratios["uvloop, task step, native"] == 0.95
    assert ratios["uvloop, task step, pure"] == 1.2


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"python": "3.11"}'])
def test_a_missing_or_broken_file_is_a_clear_error(check, capsys, content):
    check.file.unlink()
    if content is not None:
        check.file.write_text(content)

    assert check(counted({"callback": 1100.0, "task step": 1200.0})) == 2
    error = capsys.readouterr().err
    assert str(check.file) in error
    assert "--write" in error


@pytest.mark.parametrize(
    ("valgrind", "optimised", "said"),
    [(None, True, "valgrind is not installed"), ("/usr/bin/valgrind", False, "built without optimisation")],
)
def test_what_cannot_count_is_refused(monkeypatch, capsys, valgrind, optimised, said):
    monkeypatch.setattr("shutil.which", lambda name: valgrind)
    monkeypatch.setattr(counting, "optimised", lambda: optimised)
    monkeypatch.setattr("sys.argv", ["cost", "--check"])

    assert command.main() == 2
    assert said in capsys.readouterr().err


def test_writing_the_budgets_of_one_python_keeps_those_of_another(check):
    results = {**counted({"callback": 900.0, "task step": 950.0}), "python": "3.14.8 (Debian's)"}
    check(results, "--write")

    assert budget.versions(check.file) == ["3.11", "3.14"]


@pytest.mark.parametrize("version", budget.versions())
def test_the_budgets_of_the_project_are_complete(version):
    """Each core that has a budget has one for each loop and each piece of work."""
    ratios = budget.read(version).ratios
    hooked = {name for name in ratios if name.split(", ")[0] in counting.LOOPS}
    cores = {name.rpartition(", ")[2] for name in hooked}

    assert cores
    assert hooked == {
        budget.key(loop, work, core) for loop in counting.LOOPS for work in counting.ALL for core in cores
    }
    assert set(ratios) - hooked <= {
        budget.key(loop, work, "native") for loop in counting.UNHOOKED for work in counting.BRIEF
    }
