"""Collects what the tests' reports carry and says it at the end: summary, files, annotations, baseline.

Runs once: in the process of pytest, or in the controller of pytest-xdist. What is needed only once a test has
blocked is imported then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_loopblock.testing.plugin.pauses import Pauses
from otel_loopblock.testing.plugin.settings import Settings

if TYPE_CHECKING:
    from otel_loopblock.testing.plugin.baseline import Baseline
    from otel_loopblock.testing.plugin.formats import Spot
    from otel_loopblock.testing.plugin.record import Record

SHOWN = 10
"""Culprits in the summary."""

PAUSES = "loopblock_pauses"
"""Where a worker of pytest-xdist tells of its pauses: what :meth:`Pauses.add` takes."""

_COLLECTOR = "loopblock-collector"


class Reporter:
    """The plugin that reports.

    Args:
        config: of this run.
        settings: the options.

    Raises:
        pytest.UsageError: the baseline that is to be updated cannot be used.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._records: list[Record] = []
        self._tests = 0
        self._not_covered: dict[str, list[str]] = {}
        self._said: list[str] = []
        self._baseline = _to_update(settings)
        self.pauses = Pauses()
        if settings.reports:
            self.collect()

    def pytest_report_header(self) -> str:
        """What is on, in the header of the run."""
        settings = self._settings
        text = f"loopblock: threshold {settings.threshold_ms:g} ms"
        if not settings.on:
            text += ", tests that ask for it"
        if settings.baseline is not None:
            text += f", baseline {settings.baseline}"
        return text

    def collect(self) -> None:
        """Read the tests' reports from now on: once one of them may carry something, or all are counted."""
        if not self._config.pluginmanager.has_plugin(_COLLECTOR):
            self._config.pluginmanager.register(_Collector(self), _COLLECTOR)

    def take(self, report: pytest.TestReport) -> None:
        """Take what a report carries."""
        from otel_loopblock.testing.plugin.record import ATTRIBUTE, NOT_COVERED

        self._records += getattr(report, ATTRIBUTE, ())
        if report.when != "call":
            return
        self._tests += 1
        backend = getattr(report, NOT_COVERED, None)
        if backend is not None:
            self._not_covered.setdefault(backend, []).append(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of pytest-xdist tells at its end."""
        pauses = getattr(node, "workeroutput", {}).get(PAUSES)
        if pauses is not None:
            self.pauses.add(*pauses)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files."""
        settings = self._settings
        try:
            if settings.update_baseline and settings.baseline is not None:
                from otel_loopblock.testing.plugin.baseline import Baseline
                from otel_loopblock.testing.plugin.record import known

                before = self._baseline.known if self._baseline is not None else set()
                found = {known(record) for record in self._records if record["excuse"] == "baseline"}
                Baseline(before | found).write(settings.baseline)
                self._said.append(f"{len(found - before)} blocks added to the baseline {settings.baseline}")
            for path in settings.reports:
                from otel_loopblock.testing.plugin import formats

                formats.write(
                    path,
                    self._records,
                    root=self._config.rootpath,
                    threshold_ms=settings.threshold_ms,
                    tests=self._tests,
                    pauses=self.pauses,
                )
                self._said.append(f"report written to {path}")
        except OSError as error:
            self._said.append(f"ERROR: cannot be written: {error}")
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the worst culprits."""
        if self._records or self._not_covered or self._said or self.pauses.count:
            terminalreporter.write_sep("=", "event loop blocked")
            found = self._spots()
            for spot in found[:SHOWN]:
                terminalreporter.write_line(self._line(spot), red=spot.fails, yellow=not spot.fails)
            if len(found) > SHOWN:
                terminalreporter.write_line(f"and {len(found) - SHOWN} more culprits")
            for backend, tests in self._not_covered.items():
                terminalreporter.write_line(
                    f"not covered: {_count(len(tests), 'test')} ran on {backend}, and only asyncio and uvloop"
                    f" are watched: {tests[0]}{', …' if len(tests) > 1 else ''}"
                )
            if self.pauses.count:
                terminalreporter.write_line(
                    f"not counted: {_count(self.pauses.count, 'block')} by the garbage collector,"
                    f" {self.pauses.longest_s * 1000:.0f} ms at most"
                )
            for line in self._said:
                terminalreporter.write_line(line)
        if self._settings.annotations:
            from otel_loopblock.testing.plugin import formats

            terminalreporter.ensure_newline()
            for line in formats.github(self._records, self._config.rootpath):
                terminalreporter.write_line(line)

    def _spots(self) -> list[Spot]:
        if not self._records:
            return []
        from otel_loopblock.testing.plugin.formats import spots

        return spots(self._records)

    def _line(self, spot: Spot) -> str:
        from otel_loopblock.emit.words import milliseconds
        from otel_loopblock.testing.plugin.record import call_of, cause_of, file_of, function_of, line_of
        from otel_loopblock.testing.words import relative

        worst = spot.worst
        text = f"{milliseconds(spot.longest_s):>8}  "
        if file_of(worst):
            base = str(self._config.invocation_params.dir)
            text += f"{relative(file_of(worst), base)}:{line_of(worst)} "
        text += function_of(worst) or "unknown"
        if call_of(worst):
            text += f" → {call_of(worst)}"
        if cause_of(worst) != "unknown":
            text += f" ({cause_of(worst)})"
        if len(spot.records) > 1:
            text += f", {len(spot.records)} times in {_count(len(spot.tests), 'test')}"
        else:
            text += f", in {spot.tests[0]}"
        return text if worst["excuse"] is None else f"{text} [not counted: {worst['excuse']}]"


class _Collector:
    """The plugin that reads each report of each test."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reporter.take(report)


def _to_update(settings: Settings) -> Baseline | None:
    """The baseline that is added to; ``None`` where none is, or it has yet to be made."""
    if not settings.update_baseline or settings.baseline is None or not settings.baseline.exists():
        return None
    from otel_loopblock.testing.plugin.baseline import read

    return read(settings.baseline)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
