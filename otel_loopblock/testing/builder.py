"""Makes the blocks of a detection.

Loaded with the first of them: to tell culprit, cause and advice takes much code and a large table, which most
runs of most test suites have no use for.
"""

from __future__ import annotations

from functools import lru_cache

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.block import Block, Observed
from otel_loopblock.explain.explainer import Explainer
from otel_loopblock.explain.own_code import OwnCode, in_library
from otel_loopblock.explain.stack import Stacks, to_frame
from otel_loopblock.testing import own_lines
from otel_loopblock.watch.evidence import Evidence
from otel_loopblock.watch.looks import running_elsewhere, running_target
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.target import Target


class Builder:
    """Makes blocks.

    Args:
        app_paths: folders of the application's own code; empty: whatever is not installed.
        threshold_s: the threshold that is exceeded.
    """

    def __init__(self, app_paths: tuple[str, ...], threshold_s: float) -> None:
        table = advice_table()
        stacks = Stacks(own_code(_with_tests(app_paths)), table.lookup)
        self._explainer = Explainer(stacks, table, threshold_s)

    def build(
        self, monitor: Monitor, evidence: Evidence, began: float, ended: float, target: Target
    ) -> Block:
        """Explain the stretch from ``began`` to ``ended`` (``perf_counter``) at once."""
        return Observed(monitor, evidence, began, ended, target, self._explainer.explain).block


def target_elsewhere(monitor: Monitor) -> Target:
    """What a loop in another thread is calling right now."""
    return running_elsewhere(monitor)[0]


def target_here(monitor: Monitor) -> Target:
    """What the loop of this thread is calling right now."""
    return running_target(monitor)


def names_in(block: Block) -> list[str]:
    """The functions and calls by which a block may be left out."""
    names = [to_frame(raw).function for raw in block.stack]
    if block.culprit is not None:
        names.append(block.culprit.function)
    return names + [call for call in (block.call, block.leaf_call) if call is not None]


ELSEWHERE = "elsewhere"
"""Why a block fails no test that no line of the chosen paths is guilty of."""


def is_elsewhere(block: Block, app_paths: tuple[str, ...]) -> bool:
    """Whether own code was chosen, and the culprit is neither there nor a line of a test."""
    file = block.culprit.file if block.culprit is not None else ""
    return bool(app_paths and file) and not own_code(_with_tests(app_paths)).owns(file)


def _with_tests(app_paths: tuple[str, ...]) -> tuple[str, ...]:
    """The paths, and the files of the tests: their lines are to be told from those that they call."""
    if not app_paths or not own_lines.runs:
        return app_paths
    tests = (file for file in own_lines.runs[-1] if not in_library(file))
    return (*app_paths, *sorted(tests))


@lru_cache(maxsize=100)
def own_code(paths: tuple[str, ...]) -> OwnCode:
    """One per choice of paths, so that what it knows of files serves every test."""
    return OwnCode(paths)


@lru_cache(maxsize=1)
def advice_table() -> AdviceTable:
    """That of all tests."""
    table = AdviceTable()
    table.load_entry_points()
    return table
