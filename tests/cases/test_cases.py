"""The trial of the cases in its small form: on each loop once, twice more where it was not told rightly."""

from __future__ import annotations

import pytest

from tests.cases import CASES
from tests.cases.case import case
from tests.cases.trial import Verdict, run
from tests.conftest import LOOPS

TRIES = 3
"""On a busy machine a block may be looked at once, at its end."""


@pytest.mark.parametrize("each", [pytest.param(each, id=each.name) for each in CASES])
def test_what_is_said_is_true(each, loop_kind):
    if not each.can_run:
        pytest.skip(f"needs {' '.join(each.needs)}")

    for _ in range(TRIES):
        (verdict,) = run(LOOPS[loop_kind], [each], 1)
        assert not verdict.contradicts, verdict.attributes
        if verdict.at_home and verdict.named:
            return
    raise AssertionError(verdict.attributes)


@pytest.mark.parametrize(("cause", "contradicts"), [("wait", True), ("descheduled", False)])
def test_verdict_compares_what_was_said(cause, contradicts):
    sleeping = case(1, ".request", "lib.call", wrong=("asyncio.sleep",))(test_verdict_compares_what_was_said)

    verdict = Verdict(
        sleeping,
        {
            "code.function.name": "app.request",
            "event_loop.block.call": "time.sleep",
            "event_loop.block.cause": cause,
            "event_loop.block.advice": "Use await asyncio.sleep(...).",
        },
    )

    assert verdict.at_home
    assert not verdict.named
    assert verdict.contradicts is contradicts
