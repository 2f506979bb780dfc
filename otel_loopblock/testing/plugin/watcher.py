"""Watches all tests with one detection, and calls in the judge for those that need one.

The hooks stay in place for the whole run: to put them there costs more than a short test. A test that does
not block costs this plugin one call. What is needed only once a test has blocked is imported then. Runs in
each worker of pytest-xdist; what it finds travels on the reports.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from otel_loopblock.clocks import perf_counter
from otel_loopblock.testing.detection import Detection
from otel_loopblock.testing.plugin.pauses import Pauses
from otel_loopblock.testing.plugin.settings import Settings, asks

if TYPE_CHECKING:
    from otel_loopblock.explain.block import Block
    from otel_loopblock.testing.plugin.baseline import Baseline
    from otel_loopblock.testing.plugin.judge import Judge, LoopBlock

_JUDGE = "loopblock-judge"

_SPECIAL = frozenset({"loopblock", "loopblock_off", "trio"})
"""Markers of tests that are not like the others."""


class Watcher:
    """The plugin that runs where tests run.

    Args:
        config: of this run.
        settings: the options.
        collect: called before the first report of a test that carries something.
        report: called at the end with the pauses, if there were any.

    Raises:
        pytest.UsageError: the baseline cannot be used.
    """

    def __init__(
        self,
        config: pytest.Config,
        settings: Settings,
        collect: Callable[[], None],
        report: Callable[[Pauses], None],
    ) -> None:
        self._config = config
        self._settings = settings
        self._collect = collect
        self._report = report
        self._baseline = _read_baseline(settings)
        self._shared: Detection | None = None
        self._special: dict[str, pytest.Item] = {}
        self._judge: Judge | None = None
        self._judging = False
        self._lock = threading.Lock()
        self._pauses = Pauses()

    # -- the run ----------------------------------------------------------------------------------

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn which tests are not like the others: by what they ask for, or by what they run on."""
        self._special = {item.nodeid: item for item in session.items if _is_special(item)}

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Hand over what is on no report."""
        if self._pauses.count:
            self._report(self._pauses)

    def pytest_unconfigure(self) -> None:
        """Take the hooks away, that stayed in place."""
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    # -- a test -----------------------------------------------------------------------------------

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Charge this test with what callbacks do from now on."""
        shared = self._shared or self._open()
        shared.entered = perf_counter()
        if self._judging or nodeid in self._special:
            self._call_judge().begin(self._special.get(nodeid))

    def _open(self) -> Detection:
        settings = self._settings
        shared = Detection(
            settings.threshold_ms / 1000,
            settings.allow,
            settings.app_paths,
            notice=self._notice,
            collected=self._pauses.add,
            own_lines=settings.own_lines,
        )
        self._shared = shared
        shared.open()
        if not settings.on:
            shared.pause()
        return shared

    def _notice(self, block: Block | None) -> None:
        judge = self._call_judge()
        if block is not None:
            judge.notice(block)

    def _call_judge(self) -> Judge:
        with self._lock:  # the loops of several threads may have blocked
            judge = self._judge
            if judge is None:
                from otel_loopblock.testing.plugin.judge import Judge

                shared = self._shared or self._open()
                judge = self._judge = Judge(
                    shared, self._settings, self._baseline, self._config, self._dismiss
                )
                self._collect()
            if not self._judging:
                self._judging = True
                self._config.pluginmanager.register(judge, _JUDGE)
        return judge

    def _dismiss(self) -> None:
        # Its hooks are called for each phase of each test: only while there is something to judge.
        with self._lock:
            self._judging = False
            self._config.pluginmanager.unregister(name=_JUDGE)

    # -- the fixture ------------------------------------------------------------------------------

    def handle(self, item: pytest.Item) -> LoopBlock:
        """What the fixture ``loopblock`` gives to a test."""
        return self._call_judge().handle(item)


def _is_special(item: pytest.Item) -> bool:
    if asks(item, _SPECIAL):
        return True
    if "anyio_backend" not in getattr(item, "fixturenames", ()):
        return False
    # Which backend a fixture of their own chooses is known only once it is set up.
    backend = getattr(getattr(item, "callspec", None), "params", {}).get("anyio_backend")
    return (backend[0] if isinstance(backend, tuple) else backend) != "asyncio"


def _read_baseline(settings: Settings) -> Baseline | None:
    if settings.baseline is None or settings.update_baseline:
        return None
    from otel_loopblock.testing.plugin.baseline import read

    return read(settings.baseline)
