"""Watches each test: a detection from before its set-up until after its teardown fails it after its call.

The hooks stay in place for the whole run: to put them there costs more than a short test. What is needed only
once a test has blocked is imported then. Runs in each worker of pytest-xdist; what it finds travels on the
reports.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from otel_loopblock.registry import registry
from otel_loopblock.testing.baseline import Baseline, BaselineError, Known
from otel_loopblock.testing.detection import Detection
from otel_loopblock.testing.record import ATTRIBUTE, NOT_COVERED, Record
from otel_loopblock.testing.settings import Settings

if TYPE_CHECKING:
    from otel_loopblock.block import Block
    from otel_loopblock.testing.words import EventLoopBlocked

_REPORTS = "loopblock-reports"


class Watcher:
    """The plugin that runs where tests run.

    Args:
        config: of this run.
        settings: the options.
        collect: called before the first report of a test that carries something.

    Raises:
        pytest.UsageError: the baseline cannot be used.
    """

    def __init__(self, config: pytest.Config, settings: Settings, collect: Callable[[], None]) -> None:
        self._settings = settings
        self._collect = collect
        self._base = str(config.invocation_params.dir)
        self._shared: Detection | None = None
        self._test: _Test | None = None
        self._baseline = Baseline()
        if settings.baseline is not None and not settings.update_baseline:
            try:
                self._baseline = Baseline.read(settings.baseline)
            except BaselineError as error:
                raise pytest.UsageError(f"--loopblock-baseline: {error}") from None

    # -- the run ----------------------------------------------------------------------------------

    def pytest_unconfigure(self) -> None:
        """Take the hooks away, that stayed in place."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    def check_markers(self, item: pytest.Item) -> None:
        """Refuse what cannot be used before a test runs.

        Raises:
            pytest.UsageError: naming the test and the argument.
        """
        try:
            self._options_of(item)
        except (TypeError, ValueError) as error:
            raise pytest.UsageError(f"{item.nodeid}: {error}") from None

    def _options_of(self, item: pytest.Item) -> tuple[float, tuple[str, ...]]:
        """The threshold of a test, in seconds, and the patterns that it allows."""
        threshold_ms, allow = self._settings.threshold_ms, list(self._settings.allow)
        for marker in reversed(list(item.iter_markers("loopblock"))):  # the closest one has the last word
            unknown = set(marker.kwargs) - {"threshold_ms", "allow"}
            if marker.args or unknown:
                wrong = ", ".join([*map(repr, marker.args), *sorted(unknown)])
                raise TypeError(f"the marker loopblock takes threshold_ms=… and allow=[…], not {wrong}")
            threshold_ms = marker.kwargs.get("threshold_ms", threshold_ms)
            allowed = marker.kwargs.get("allow", ())
            allow += [allowed] if isinstance(allowed, str) else allowed
        from otel_loopblock.config import Config  # here: few tests have options of their own

        loaded = Config.load({"threshold_ms": threshold_ms, "ignore": allow}, environ={})
        return loaded.threshold_s, loaded.ignore

    # -- a test -----------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        """Begin to watch, unless the test is not to be."""
        markers = {marker.name for node in item.listchain() for marker in node.own_markers}
        asks = "loopblock" in markers or "loopblock" in getattr(item, "fixturenames", ())
        if "loopblock_off" in markers or not (self._settings.on or asks):
            self._test = None
            return (yield)
        if self._shared is None:
            self._shared = Detection(self._settings.threshold_ms / 1000, self._settings.allow)
            self._shared.open()
            self._shared.end()
        if asks:
            detection = Detection(*self._options_of(item))
            detection.open()
        else:
            detection = self._shared
            detection.begin()
        test = self._test = _Test(item, detection, "trio" in markers)
        try:
            return (yield)
        finally:
            if registry.monitors_in_callbacks():
                detection.charge_running()
            if detection.blocks:
                self._note(test, "setup")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail the test where it, or its own fixtures' set-up, blocked; its own exception goes first."""
        test = self._test
        if test is None:
            return (yield)
        detection = test.detection
        try:
            result = yield
        finally:
            if registry.monitors_in_callbacks():
                detection.charge_running()
            if detection.blocks:
                self._note(test, "call")
            elif "trio" in sys.modules and test.runs_trio:
                self._report_from_now_on(item.config)
        if detection.blocks:
            self._fail(test, ("setup", "call"))
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """End; an error where its own fixtures' teardown blocked."""
        test = self._test
        if test is None:
            return (yield)
        detection = test.detection
        try:
            result = yield
        finally:
            if detection is self._shared:
                detection.end()
            else:
                detection.close()
            if detection.blocks:
                self._note(test, "teardown")
        if detection.blocks:
            self._fail(test, ("teardown",))
        return result

    def _note(self, test: _Test, phase: str) -> None:
        test.note(phase)
        self._report_from_now_on(test.item.config)

    def _report_from_now_on(self, config: pytest.Config) -> None:
        # Not from the beginning: it is called for each phase of each test.
        if not config.pluginmanager.has_plugin(_REPORTS):
            config.pluginmanager.register(_Reports(self), _REPORTS)
            self._collect()

    def _fail(self, test: _Test, phases: tuple[str, ...]) -> None:
        from otel_loopblock.testing.words import EventLoopBlocked

        found = [block for phase in phases for block in test.blocks_in(phase)]
        failing = [block for block in found if self._excuse(test, block) is None]
        if failing:
            test.raised = EventLoopBlocked.of(failing, self._base)
            raise test.raised

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Tell the blocks of a fixture that is shared with other tests from the test's own."""
        test = self._test
        if test is None:
            return (yield)
        before = len(test.detection.blocks)
        try:
            return (yield)
        finally:
            if test.detection.blocks and fixturedef.scope != "function":
                test.assign(before, fixturedef)

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """The same on teardown: what has blocked since the last one ended was the end of this one."""
        test = self._test
        if test is not None and len(test.detection.blocks) > test.finalized:
            test.assign(test.finalized, fixturedef)

    # -- reports ----------------------------------------------------------------------------------

    def report(self, report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
        """Put the blocks on a report, the culprit's line first where they fail the test."""
        test = self._test
        if test is None:
            return
        phase = call.when
        if phase == "call" and "trio" in sys.modules and test.runs_trio:
            setattr(report, NOT_COVERED, "trio")
        if not test.detection.blocks:
            return
        from otel_loopblock.testing.words import describe

        blocks = test.blocks_in(phase)
        if blocks:
            setattr(report, ATTRIBUTE, [self._record(test, report, block) for block in blocks])
        error = call.excinfo.value if call.excinfo is not None else None
        if error is not None and error is test.raised:
            _show_culprit(report, call, self._base)
        elif blocks and report.failed:
            report.sections.append(("Event loop blocked", describe(blocks, self._base)))

    def _record(self, test: _Test, report: pytest.TestReport, block: Block) -> Record:
        from otel_loopblock.emit import attributes
        from otel_loopblock.stack import render
        from otel_loopblock.testing.words import STACK_DEPTH, headline

        excused = self._excuse(test, block)
        if excused is None and report.skipped:  # by itself, or expected to fail
            excused = "skipped"
        return {
            "test": test.item.nodeid,
            "phase": report.when or "",
            "fails": excused is None,
            "excuse": excused,
            "headline": headline(block, self._base),
            "attributes": attributes.of_block(
                block, render(block.stack, STACK_DEPTH, block.leaf_call) if block.stack else None
            ),
        }

    def _excuse(self, test: _Test, block: Block) -> str | None:
        fixture = test.fixtures.get(id(block))
        if fixture is not None:
            return fixture
        from otel_loopblock.testing.words import excuse

        excused = excuse(block)
        if excused is not None:
            return excused
        if self._settings.update_baseline:
            return "baseline"
        function = block.culprit.function if block.culprit is not None else ""
        return "baseline" if Known(function, block.call or "") in self._baseline else None

    # -- the fixture ------------------------------------------------------------------------------

    def handle(self, item: pytest.Item) -> LoopBlock:
        """What the fixture ``loopblock`` gives to a test."""
        test = self._test
        if test is None or test.item is not item:
            pytest.fail("the fixture loopblock is of no use in a test marked loopblock_off", pytrace=False)
        return LoopBlock(test.detection)


class _Reports:
    """The plugin that is there once a test has blocked."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._watcher.report(report, call)
        return report


class LoopBlock:
    """The fixture ``loopblock``."""

    def __init__(self, detection: Detection) -> None:
        self._detection = detection

    @property
    def blocks(self) -> list[Block]:
        """The blocks of this test so far; of callbacks that have ended."""
        return list(self._detection.blocks)

    def allow(self, *patterns: str) -> None:
        """Let matching functions and calls block from now on.

        Args:
            patterns: of functions or calls, as in the marker's ``allow``.
        """
        self._detection.ignore(patterns)

    @contextlib.contextmanager
    def allowed(self) -> Iterator[None]:
        """Let anything block inside the ``with``."""
        inner = Detection(self._detection.threshold_s)
        inner.open()
        try:
            yield
        finally:
            inner.close()
            inner.settle()


class _Test:
    """The test that runs."""

    __slots__ = ("_ends", "_marked_trio", "detection", "finalized", "fixtures", "item", "raised")

    def __init__(self, item: pytest.Item, detection: Detection, marked_trio: bool) -> None:
        self.item = item
        self.detection = detection
        self._marked_trio = marked_trio
        self.raised: EventLoopBlocked | None = None
        self.fixtures: dict[int, str] = {}
        """Blocks, by identity, that happened in a fixture shared with other tests."""
        self.finalized = 0
        """Blocks whose fixture is settled."""
        self._ends: dict[str, list[Block]] = {}

    @property
    def runs_trio(self) -> bool:
        """Whether it runs on trio: its fixtures must be set up already."""
        backend = getattr(self.item, "funcargs", {}).get("anyio_backend")
        return self._marked_trio or (backend[0] if isinstance(backend, tuple) else backend) == "trio"

    def note(self, phase: str) -> None:
        """Take what was found since the last phase as this one's."""
        seen = {id(block) for blocks in self._ends.values() for block in blocks}
        self._ends[phase] = [block for block in self.detection.blocks if id(block) not in seen]
        self.finalized = len(self.detection.blocks)

    def blocks_in(self, phase: str) -> list[Block]:
        return self._ends.get(phase, [])

    def assign(self, before: int, fixturedef: pytest.FixtureDef[Any]) -> None:
        """Note that the blocks from number ``before`` on happened in a fixture, unless that is settled."""
        blocks = self.detection.blocks
        if fixturedef.scope != "function":
            for block in blocks[before:]:
                self.fixtures.setdefault(id(block), f"{fixturedef.scope} fixture {fixturedef.argname}")
        self.finalized = len(blocks)


def _show_culprit(report: pytest.TestReport, call: pytest.CallInfo[None], base: str) -> None:
    """Show the exception's text alone: a traceback would lead into this plugin."""
    from otel_loopblock.testing.words import EventLoopBlocked, headline

    assert call.excinfo is not None
    error = call.excinfo.value
    assert isinstance(error, EventLoopBlocked)
    shown = call.excinfo.getrepr(style="value")
    crash = shown.reprcrash
    if crash is not None:
        worst = max(error.blocks, key=lambda block: block.duration_s)
        crash.message = headline(worst, base)
        if worst.culprit is not None and worst.culprit.file:
            crash.path, crash.lineno = worst.culprit.file, worst.culprit.line
    report.longrepr = shown
