"""CPython's own tests of asyncio, module by module."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from tests.compat.compare import Comparison, Missing, Run, compare
from tests.compat.process import ROOT, end_of, environment

PACKAGE = "test.test_asyncio"

MODULES = (
    "test_base_events",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_futures",
    "test_futures2",
    "test_locks",
    "test_queues",
    "test_runners",
    "test_selector_events",
    "test_server",
    "test_sock_lowlevel",
    "test_streams",
    "test_taskgroups",
    "test_tasks",
    "test_timeouts",
    "test_transports",
    "test_unix_events",
    "test_waitfor",
)
"""What there is of these in a version of Python is run."""

WAYS = ("1 ms",)

TIMEOUT_S = 300.0
"""For one module: a test that hangs is a difference as well."""


def modules_of(python: str, wanted: tuple[str, ...] = ()) -> list[str]:
    """The modules to run on this Python.

    Raises:
        Missing: it has no such tests, or not this package.
    """
    if subprocess.run([python, "-c", "import opentelemetry.sdk"], capture_output=True).returncode:
        raise Missing(f"{python} has no opentelemetry-sdk: give the Python of an environment that has it")
    code = f"import {PACKAGE} as tests; print(tests.__path__[0])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if found.returncode:
        raise Missing(f"{python} has no {PACKAGE}; Debian has it in the package libpython3-testsuite")
    there = {path.stem for path in Path(found.stdout.strip()).glob("test_*.py")}
    unknown = set(wanted) - there
    if unknown:
        raise Missing(f"{python} has no {', '.join(sorted(unknown))} in {PACKAGE}")
    return [module for module in wanted or MODULES if module in there]


def run(python: str, module: str, way: str, tests: tuple[str, ...]) -> Run:
    """Run a module, or some of its tests, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "outcomes.json")
        command = [python, "-m", "loopblock_unittest", way, str(file), f"{PACKAGE}.{module}", *tests]
        end = end_of(command, ROOT, environment(ROOT), TIMEOUT_S)
        if not file.exists():
            return Run({}, None, end)
        found = json.loads(file.read_text())
    outcomes = {test: (outcome, why) for test, (outcome, why) in found["outcomes"].items()}
    return Run(outcomes, found["package"])


def compare_module(python: str, module: str) -> Comparison:
    """Run one module off and on."""
    return compare(module, WAYS, partial(run, python, module))
