"""Runs the modules off and on, each in a process of its own, and finds the tests that differ."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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

TIMEOUT_S = 300.0
"""For one module: a test that hangs is a difference as well."""

RERUNS = 3
"""How often a test that differs is run again, off and on, alone."""


class Missing(Exception):
    """This Python does not have what is needed; the message says what."""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of the tests of one module."""

    outcomes: dict[str, tuple[str, str]]
    """By test: ``ok``, ``failed``, ``error`` or ``skipped``, and why."""
    package: dict[str, object] | None
    """What the package says of itself; ``None`` where it was off."""

    def count(self, *outcomes: str) -> int:
        """How many tests came out like that."""
        return sum(outcome in outcomes for outcome, _ in self.outcomes.values())


@dataclass(slots=True)
class Comparison:
    """One module, off and on."""

    module: str
    off: Run
    on: Run
    differing: list[str] = field(default_factory=list)
    """Tests that came out differently each time."""
    flaky: list[str] = field(default_factory=list)
    """Tests that came out differently once, and the same when they were run again."""


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


def run(python: str, module: str, on: bool, tests: tuple[str, ...] = ()) -> Run:
    """Run a module, or some of its tests, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "outcomes.json")
        command = [
            python,
            "-m",
            "tests.compat.child",
            "on" if on else "off",
            str(file),
            f"{PACKAGE}.{module}",
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        environment["PYTHONPATH"] = str(ROOT)
        try:
            done = subprocess.run(
                [*command, *tests],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            return Run({module: ("error", f"not over after {TIMEOUT_S:g} s")}, None)
        if not file.exists():
            return Run({module: ("error", f"exit code {done.returncode}\n{done.stderr[-2000:]}")}, None)
        found = json.loads(file.read_text())
    outcomes = {test: (outcome, why) for test, (outcome, why) in found["outcomes"].items()}
    return Run(outcomes, found["package"])


def differing(off: Run, on: Run) -> list[str]:
    """Tests that came out differently, those that only one has among them."""
    return [
        test
        for test in sorted(off.outcomes.keys() | on.outcomes.keys())
        if off.outcomes.get(test, ("",))[0] != on.outcomes.get(test, ("",))[0]
    ]


def compare(python: str, module: str) -> Comparison:
    """Run one module off and on; what differs is run again."""
    found = Comparison(module, run(python, module, False), run(python, module, True))
    for test in differing(found.off, found.on):
        # A whole module that did not come to its end cannot be asked for by the name of a test.
        again = () if test == module else (test,)
        differs = all(
            differing(run(python, module, False, again), run(python, module, True, again))
            for _ in range(RERUNS)
        )
        (found.differing if differs else found.flaky).append(test)
    return found
