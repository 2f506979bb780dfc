"""Some of what ``python -m tests.neighbours`` does: one tool without a package, and what is called wrong."""

from __future__ import annotations

import sys

import pytest

from tests.neighbours.__main__ import CULPRIT, run_again, wrongs

CALM = {
    "results": [[1], [1]],
    "blocked": [CULPRIT],
    "after_ours": [],
    "left": [],
    "misplaced": [],
    "failures": [],
}


@pytest.mark.parametrize("order", ["oo-", "tor"])
def test_wrappers_of_another_tool_stay_when_ours_are_taken_out(loop_kind, order):
    assert run_again(sys.executable, "a tracer's wrappers", loop_kind, order) == []


@pytest.mark.parametrize(
    "found",
    [
        {"results": [[1], [2]]},
        {"blocked": []},
        {"blocked": [CULPRIT, CULPRIT]},
        {"after_ours": ["event_loop.blocked"]},
        {"left": ["event_loop.blocked"]},
        {"misplaced": ["asyncio.events.Handle._run"]},
        {"failures": ["report a block"]},
    ],
)
def test_wrong_is_said(found):
    assert wrongs(CALM) == []
    assert len(wrongs({**CALM, **found})) == 1
