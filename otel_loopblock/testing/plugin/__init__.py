"""The pytest plugin: inert until asked, by option, ini file, marker or fixture.

pytest imports this in every run: the rest is imported on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_loopblock.testing import own_lines
from otel_loopblock.testing.plugin import settings

if TYPE_CHECKING:
    from otel_loopblock.testing.plugin.judge import LoopBlock
    from otel_loopblock.testing.plugin.pauses import Pauses
    from otel_loopblock.testing.plugin.reporter import Reporter
    from otel_loopblock.testing.plugin.watcher import Watcher

MARKERS = (
    "loopblock(threshold_ms=…, allow=[…], own_lines=…): watch this test for blocks of the event loop, also"
    " without --loopblock; allow: patterns of functions or calls that may block; own_lines: fail, warn or"
    " ignore",
    "loopblock_off: do not watch this test for blocks of the event loop",
)

_settings = pytest.StashKey[settings.Settings]()
_own_files = pytest.StashKey[own_lines.OwnFiles]()
_WATCHER = "loopblock-watcher"
_REPORTER = "loopblock-reporter"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    settings.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options; begin where they ask for it."""
    _spare_rewriting(config)
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    chosen = config.stash[_settings] = settings.read(config)
    if chosen.on:
        _watcher(config)
        _reporter(config)
    if chosen.saturation_ms:
        from otel_loopblock.testing.plugin.saturation import SaturationPlugin

        config.pluginmanager.register(SaturationPlugin(chosen), "loopblock-saturation")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let it be asked which lines are the tests' own."""
    own = session.config.stash[_own_files] = own_lines.OwnFiles(session)
    own_lines.runs.append(own)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Do not any more."""
    own = config.stash.get(_own_files, None)
    if own in own_lines.runs:
        own_lines.runs.remove(own)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin where a test asks for it."""
    if not config.stash[_settings].on and any(settings.asks(item) for item in items):
        _watcher(config)
        _reporter(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Be ready for what the workers report: only they know whether a test asks."""
    _collect(config)


@pytest.fixture
def loopblock(request: pytest.FixtureRequest) -> LoopBlock:
    """What this test has blocked so far, and what it may: ``blocks``, ``allow(...)``, ``allowed()``."""
    return _watcher(request.config).handle(request.node)


def _spare_rewriting(config: pytest.Config) -> None:
    """Have our modules imported as any others.

    pytest would compile the assertions of whatever comes with a plugin anew. There are none in ours, and it
    takes longer than to import them: much longer where no bytecode is kept. It has no public way to say so.
    """
    hook = getattr(config.pluginmanager, "rewrite_hook", None)
    marked, cached = getattr(hook, "_must_rewrite", None), getattr(hook, "_marked_for_rewrite_cache", None)
    if isinstance(marked, set) and isinstance(cached, dict):
        marked.discard("otel_loopblock")
        cached.clear()


def _watcher(config: pytest.Config) -> Watcher:
    from otel_loopblock.testing.plugin.watcher import Watcher

    watcher: Watcher | None = config.pluginmanager.get_plugin(_WATCHER)
    if watcher is None:
        watcher = Watcher(
            config,
            config.stash[_settings],
            lambda: _collect(config),
            lambda pauses: _report_pauses(config, pauses),
        )
        config.pluginmanager.register(watcher, _WATCHER)
    return watcher


def _reporter(config: pytest.Config) -> Reporter | None:
    from otel_loopblock.testing.plugin.reporter import Reporter

    if hasattr(config, "workerinput"):  # a worker of pytest-xdist: the controller reports
        return None
    reporter: Reporter | None = config.pluginmanager.get_plugin(_REPORTER)
    if reporter is None:
        reporter = Reporter(config, config.stash[_settings])
        config.pluginmanager.register(reporter, _REPORTER)
    return reporter


def _collect(config: pytest.Config) -> None:
    reporter = _reporter(config)
    if reporter is not None:
        reporter.collect()


def _report_pauses(config: pytest.Config, pauses: Pauses) -> None:
    from otel_loopblock.testing.plugin.reporter import PAUSES

    reporter = _reporter(config)
    if reporter is not None:
        reporter.pauses.add(pauses.longest_s, pauses.count)
    else:
        getattr(config, "workeroutput", {})[PAUSES] = (pauses.longest_s, pauses.count)
