"""Judges the tests that may have blocked: gives blocks to phases and fixtures, and fails what is guilty.

Its hooks are called for each phase of each test while it is registered, which the
:class:`~otel_loopblock.testing.plugin.watcher.Watcher` sees to: from a test's first block, or from its
beginning where it has options of its own, until its end.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator, Iterator
from types import CodeType
from typing import TYPE_CHECKING

import pytest

from otel_loopblock.frames import locals_in
from otel_loopblock.testing import own_lines
from otel_loopblock.testing.detection import Detection
from otel_loopblock.testing.plugin.record import ATTRIBUTE, NOT_COVERED, Record
from otel_loopblock.testing.plugin.settings import Settings, asks
from otel_loopblock.watch.loops import loops

if TYPE_CHECKING:
    from otel_loopblock.explain.block import Block
    from otel_loopblock.testing.plugin.baseline import Baseline
    from otel_loopblock.testing.words import EventLoopBlocked

_FIXTURE_CODE: frozenset[CodeType] = frozenset(
    method.__code__
    for name in ("execute", "finish")
    if (method := getattr(pytest.FixtureDef, name, None)) is not None
)
"""What sets a fixture up and tears it down; ``self`` is the fixture's definition."""


class Judge:
    """The plugin that is there while a test may have to be failed.

    Args:
        shared: the detection of all tests without options of their own.
        settings: the options.
        baseline: the blocks that are known; ``None`` without.
        config: of this run.
        dismiss: called when there is nothing more to judge.
    """

    def __init__(
        self,
        shared: Detection,
        settings: Settings,
        baseline: Baseline | None,
        config: pytest.Config,
        dismiss: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._settings = settings
        self._baseline = baseline
        self._base = str(config.invocation_params.dir)
        self._dismiss = dismiss
        self._own_lines = settings.own_lines
        self._begin_with(shared, watched=settings.on)

    # -- a test -----------------------------------------------------------------------------------

    def begin(self, item: pytest.Item | None) -> None:
        """A test begins.

        Args:
            item: the test, where it is not like the others.
        """
        self._close()
        self._own_lines = self._settings.own_lines
        if item is not None and item.get_closest_marker("loopblock_off") is not None:
            self._begin_with(self._shared, watched=False)
        elif item is not None and asks(item):
            self._begin_with_markers(item)
        elif self._settings.on:
            self._shared.begin()
            self._begin_with(self._shared, watched=True)
        else:
            self._begin_with(self._shared, watched=False)

    def _begin_with_markers(self, item: pytest.Item) -> None:
        try:
            own = self._own(item)
        except (TypeError, ValueError) as error:
            self._begin_with(self._shared, watched=False, wrong=str(error))
        else:
            self._begin_with(own, watched=True)

    def _begin_with(self, detection: Detection, *, watched: bool, wrong: str | None = None) -> None:
        self._detection = detection
        self._watched = watched
        self._wrong = wrong
        self._phases: dict[str, list[Block]] = {}
        self._settled = 0
        self._raised: EventLoopBlocked | None = None
        self._fixtures: dict[int, str] = {}

    def _own(self, item: pytest.Item) -> Detection:
        threshold_s, ignored, self._own_lines = options_of(item, self._settings)
        detection = Detection(
            threshold_s,
            ignored,
            self._settings.app_paths,
            notice=self.notice,
            own_lines=self._own_lines,
        )
        detection.open()
        self._shared.pause()
        return detection

    def _close(self) -> None:
        if self._detection is not self._shared:
            self._detection.close()
            self._detection = self._shared

    def notice(self, block: Block | None) -> None:
        """Note, on the loop's thread, in which fixture a block has happened."""
        if block is not None:
            fixture = self._fixture_at_work()
            if fixture is not None:
                self._fixtures[id(block)] = fixture

    def _fixture_at_work(self) -> str | None:
        """The innermost fixture that is being set up or torn down, if it is shared with other tests."""
        found = locals_in(self._shared.thread_id, _FIXTURE_CODE, ("self",))
        fixturedef = found[0] if found is not None else None
        if fixturedef is None or fixturedef.scope == "function":
            return None
        return f"{fixturedef.scope} fixture {fixturedef.argname}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Fail a test whose markers ask for what there is not: a worker cannot end the run."""
        if self._wrong is not None:
            pytest.fail(self._wrong, pytrace=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Fail the phase if blocks of it must, and put them on the report, the culprit's line first.

        Its own exception goes first. What the test's own fixtures blocked in their set-up fails the call.
        """
        self._end_phase(call)
        report = yield
        if self._watched:
            self._add_to(report, item, call)
        return report

    def pytest_runtest_logfinish(self) -> None:
        """Stay after the test only if a callback runs on: the next test is charged with its own part."""
        self.begin(None)
        if not loops.monitors_in_callbacks():
            self._dismiss()

    def _end_phase(self, call: pytest.CallInfo[None]) -> None:
        detection, phase = self._detection, call.when
        if phase == "setup":
            self._raised = None  # of the test before it was run again
        if not self._watched:
            return
        # What runs on after it has failed the call is not the teardown's doing.
        if loops.monitors_in_callbacks() and self._raised is None:
            detection.charge_running()
        self._phases[phase] = detection.blocks[self._settled :]
        self._settled = len(detection.blocks)
        if phase == "teardown":
            found = self._phases[phase]
        elif phase == "call":
            found = [*self._phases.get("setup", ()), *self._phases[phase]]
        else:
            return
        if call.excinfo is not None or not found:
            return
        failing = [block for block in found if self._excuse(block) is None]
        if failing:
            from otel_loopblock.testing.words import EventLoopBlocked

            self._raised = EventLoopBlocked.of(failing, self._base)
            try:
                raise self._raised
            except EventLoopBlocked:
                call.excinfo = pytest.ExceptionInfo.from_current()

    # -- reports ----------------------------------------------------------------------------------

    def _add_to(self, report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        phase = call.when
        if phase == "call" and "trio" in sys.modules and _runs_trio(item):
            setattr(report, NOT_COVERED, "trio")
        blocks = self._phases.get(phase)
        if blocks:
            setattr(report, ATTRIBUTE, [self._record(item, report, block) for block in blocks])
        error = call.excinfo.value if call.excinfo is not None else None
        if error is not None and error is self._raised:
            _show_culprit(report, call, self._base)
        elif blocks and report.failed:
            from otel_loopblock.testing.words import describe

            report.sections.append(("Event loop blocked", describe(blocks, self._base, self._excuse)))

    def _record(self, item: pytest.Item, report: pytest.TestReport, block: Block) -> Record:
        from otel_loopblock.emit import attributes
        from otel_loopblock.explain.stacktrace import render
        from otel_loopblock.testing.words import STACK_DEPTH, headline

        excused = self._excuse(block)
        if excused is None and report.skipped:  # by itself, or expected to fail
            excused = "skipped"
        return {
            "test": item.nodeid,
            "phase": report.when or "",
            "fails": excused is None,
            "excuse": excused,
            "headline": headline(block, self._base),
            "attributes": attributes.of_block(
                block, render(block.stack, STACK_DEPTH, block.leaf_call) if block.stack else None
            ),
        }

    def _excuse(self, block: Block) -> str | None:
        fixture = self._fixtures.get(id(block))
        if fixture is not None:
            return fixture
        from otel_loopblock.testing.builder import ELSEWHERE, is_elsewhere
        from otel_loopblock.testing.plugin.baseline import Known
        from otel_loopblock.testing.words import excuse

        excused = excuse(block)
        if excused is not None:
            return excused
        if self._own_lines != "fail" and own_lines.is_own(block):
            return own_lines.EXCUSE
        if is_elsewhere(block, self._settings.app_paths):
            return ELSEWHERE
        if self._settings.update_baseline:
            return "baseline"
        function = block.culprit.function if block.culprit is not None else ""
        known = self._baseline is not None and Known(function, block.call or "") in self._baseline
        return "baseline" if known else None

    # -- the fixture ------------------------------------------------------------------------------

    def handle(self, item: pytest.Item) -> LoopBlock:
        """What the fixture ``loopblock`` gives to a test."""
        if item.get_closest_marker("loopblock_off") is not None:
            pytest.fail("the fixture loopblock is of no use in a test marked loopblock_off", pytrace=False)
        if self._detection is self._shared:  # the test has asked for the fixture as it ran
            self._begin_with(self._own(item), watched=True)
        return LoopBlock(self._detection)


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


def options_of(item: pytest.Item, settings: Settings) -> tuple[float, tuple[str, ...], str]:
    """The threshold of a test, in seconds, the patterns that it allows, and what becomes of its own lines.

    Raises:
        TypeError: for an argument of its markers that there is not.
        ValueError: for one whose value cannot be used.
    """
    threshold_ms, allow, chosen = settings.threshold_ms, list(settings.allow), settings.own_lines
    for marker in reversed(list(item.iter_markers("loopblock"))):  # the closest one has the last word
        unknown = set(marker.kwargs) - {"threshold_ms", "allow", "own_lines"}
        if marker.args or unknown:
            wrong = ", ".join([*map(repr, marker.args), *sorted(unknown)])
            raise TypeError(f"the marker loopblock takes threshold_ms=…, allow=[…], own_lines=…, not {wrong}")
        threshold_ms = marker.kwargs.get("threshold_ms", threshold_ms)
        allowed = marker.kwargs.get("allow", ())
        chosen = own_lines.checked(marker.kwargs.get("own_lines", chosen))
        allow += [allowed] if isinstance(allowed, str) else allowed
    from otel_loopblock.config import Config  # here: few tests have options of their own

    loaded = Config.load({"threshold_ms": threshold_ms, "ignore": allow}, environ={})
    return loaded.threshold_s, loaded.ignore, chosen


def _runs_trio(item: pytest.Item) -> bool:
    if item.get_closest_marker("trio") is not None:
        return True
    backend = (getattr(item, "funcargs", None) or {}).get("anyio_backend")
    return (backend[0] if isinstance(backend, tuple) else backend) == "trio"


def _show_culprit(report: pytest.TestReport, call: pytest.CallInfo[None], base: str) -> None:
    """Show the exception's text alone: its traceback would lead here."""
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
