"""Runs a suite by pytest in its environment, off and on."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from tests.compat.compare import Comparison, Missing, Run, compare
from tests.compat.process import ROOT, end_of, environment
from tests.compat.suites.environment import Environment, prepare
from tests.compat.suites.table import Suite

WAYS = ("1 ms", "defaults")

PLUGIN_WAYS = ("plugin",)

PLUGIN = ("-p", "otel_loopblock.testing.plugin", "--loopblock")
"""The plugin of pytest as a project would use it; the package comes by path, so nobody else loads it."""

WORST = ("ok", "skipped", "failed", "error")
"""Outcomes of a test's steps: the last of these counts."""


def run(suite: Suite, made: Environment, way: str, tests: tuple[str, ...]) -> Run:
    """Run the suite, or some of its tests, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        # Ours is in the path without the tree around it: that has a package named tests as well.
        Path(folder, "otel_loopblock").symlink_to(ROOT / "otel_loopblock")
        file = Path(folder, "outcomes.jsonl")
        command = [str(made.python), "-m", "pytest", "-p", "loopblock_pytest", "-p", "no:cacheprovider"]
        command += ["-o", "addopts=", "-q", *suite.options]
        if way in PLUGIN_WAYS:
            command += [*PLUGIN, "-o", f"loopblock_app_paths={own_code(suite, made)}"]
        for test in suite.deselected:
            command += ["--deselect", test]
        variables = environment(
            Path(folder),
            LOOPBLOCK_COMPAT_FILE=str(file),
            LOOPBLOCK_COMPAT_WAY=way,
            LOOPBLOCK_COMPAT_QUIET=" ".join(suite.quiet),
            **suite.variables,
        )
        end = end_of([*command, *(tests or suite.tests)], made.source, variables, suite.timeout_s)
        lines = file.read_text().splitlines() if file.exists() else []
    return _read([json.loads(line) for line in lines], end)


def own_code(suite: Suite, made: Environment) -> str:
    """Where the tests import the project from: the source package, or what is installed.

    Raises:
        Missing: it cannot be imported.
    """
    code = f"import importlib.util as u; print(*u.find_spec({suite.package!r}).submodule_search_locations)"
    found = subprocess.run([made.python, "-c", code], cwd=made.source, capture_output=True, text=True)
    if found.returncode:
        raise Missing(f"{suite.package} cannot be imported by its tests: {found.stderr.strip()}")
    return found.stdout.strip()


def _read(lines: list[dict[str, object]], end: str) -> Run:
    outcomes: dict[str, tuple[str, str]] = {}
    started = ""
    for line in lines:
        if "started" in line:
            started = str(line["started"])
        elif "test" in line:
            test, outcome, why = (str(line[name]) for name in ("test", "outcome", "why"))
            if test not in outcomes or WORST.index(outcome) > WORST.index(outcomes[test][0]):
                outcomes[test] = (outcome, why)
        else:
            package = line["package"]
            return Run(outcomes, package if isinstance(package, dict) else None)
    return Run(outcomes, None, f"{f'in {started}: ' if started else ''}{end}")


def compare_suite(python: str, suite: Suite) -> Comparison:
    """Run one suite off and on.

    Raises:
        Missing: its environment could not be made.
    """
    return compare(suite.name, WAYS, partial(run, suite, prepare(suite, python)), suite.differing)
