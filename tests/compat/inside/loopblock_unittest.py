"""Runs one module of CPython's tests in a process of its own and writes what became of each test.

Started as ``python -m loopblock_unittest WAY FILE MODULE [TEST ...]`` by the Python under test. Switched on
before asyncio's tests are imported, as ``opentelemetry-instrument`` would.
"""

from __future__ import annotations

import json
import os
import sys
import unittest

from loopblock_on import switch_on


class Outcomes(unittest.TextTestResult):
    """What became of each test: ``ok``, ``failed``, ``error`` or ``skipped``, and why."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.outcomes = {}

    def _note(self, test, outcome, why=""):
        # A test with subtests fails once for each: the worst is kept.
        known = self.outcomes.get(test.id())
        if known is None or known[0] in ("ok", "skipped"):
            self.outcomes[test.id()] = (outcome, why)

    def addSuccess(self, test):
        super().addSuccess(test)
        self._note(test, "ok")

    def addExpectedFailure(self, test, error):
        super().addExpectedFailure(test, error)
        self._note(test, "ok")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._note(test, "failed", "unexpected success")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._note(test, "failed", self._exc_info_to_string(error, test))

    def addError(self, test, error):
        super().addError(test, error)
        self._note(test, "error", self._exc_info_to_string(error, test))

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            failed = issubclass(error[0], test.failureException)
            self._note(test, "failed" if failed else "error", self._exc_info_to_string(error, test))


def main(way, file, module, *tests):
    """Run the tests and write the file; the exit code says nothing of them."""
    package = switch_on(way)
    loader = unittest.TestLoader()
    names = tests or (module,)
    suite = loader.loadTestsFromNames(names)
    runner = unittest.TextTestRunner(resultclass=Outcomes, stream=sys.stderr, verbosity=0)
    result = runner.run(suite)
    found = {"outcomes": result.outcomes, "package": package.account() if package is not None else None}
    with open(file, "w", encoding="utf-8") as written:
        json.dump(found, written)
    # Threads that a test has left behind must not keep the process.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
