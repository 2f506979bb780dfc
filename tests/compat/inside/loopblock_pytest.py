"""A plugin of pytest: the package on before the tests are imported, and what became of each test in a file.

One line of JSON for each report, as it comes: of a process that dies or hangs it is known how far it came.
"""

from __future__ import annotations

import json
import logging
import os

import pytest
from loopblock_on import switch_on


class Outcomes:
    """What became of each test: ``ok``, ``failed``, ``error`` or ``skipped``, and why."""

    def __init__(self, file, package):
        self.written = open(file, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 (until the end)
        self.package = package
        self.process = os.getpid()

    def _write(self, **line):
        if os.getpid() == self.process:  # a test may fork
            self.written.write(json.dumps(line) + "\n")

    def pytest_runtest_logstart(self, nodeid):
        self._write(started=nodeid)

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            # One that is expected to fail, and does, is as good as one that passes.
            outcome = "ok" if hasattr(report, "wasxfail") else "skipped"
        elif report.failed:
            outcome = "failed" if report.when == "call" else "error"
        elif report.when == "call":
            outcome = "ok"
        else:
            return
        self._write(test=report.nodeid, outcome=outcome, why=report.longreprtext)

    def pytest_collectreport(self, report):
        if report.failed:
            self._write(test=report.nodeid, outcome="error", why=report.longreprtext)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self):
        self._write(package=self.package.account() if self.package is not None else None)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config):
    # Not in the processes that a test starts.
    file, way, quiet = (os.environ.pop(f"LOOPBLOCK_COMPAT_{name}") for name in ("FILE", "WAY", "QUIET"))
    for name in quiet.split():
        logging.getLogger(name).setLevel(logging.CRITICAL)
    early_config.pluginmanager.register(Outcomes(file, switch_on(way)), "loopblock_outcomes")
