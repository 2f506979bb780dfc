"""Real blocks of every kind on both loops: the right cause and call, never a wrong one.

One block of 200 ms of each kind, a second where the first was not told rightly.
``python -m tests.causes.matrix`` is the strict trial, with figures, for a quiet machine.
"""

from __future__ import annotations

import pytest

from otel_loopblock import core
from tests.causes.culprits import CULPRITS
from tests.causes.trial import Verdict, run
from tests.conftest import LOOPS

BLOCK_S = 0.2
ROUNDS = 2


def is_wrong(verdict: Verdict) -> bool:
    """Whether something was claimed that is not so: to know nothing, or to have had no CPU, can be true."""
    if verdict.right or verdict.cause in ("unknown", "none"):
        return False
    return not (verdict.cause == "descheduled" and verdict.lacked_a_cpu)


def is_told(verdict: Verdict) -> bool:
    """Whether call and cause are right. The core's twin in Python cannot measure what some causes need.

    And what it sees while the collector runs is a finalizer: another thread gets the GIL only there.
    """
    is_twin = not core.TELLS_LATENESS
    unnamed = verdict.cause == "gc" and "event_loop.block.call" not in (verdict.attributes or {})
    is_named = verdict.named or (is_twin and unnamed)
    return is_named and (verdict.right or (is_twin and verdict.cause == "unknown"))


@pytest.fixture(scope="module", params=sorted(LOOPS))
def verdicts(request) -> list[Verdict]:
    found: list[Verdict] = []
    open_ = list(CULPRITS)
    for number in range(ROUNDS):
        latest = run(LOOPS[request.param], open_, [BLOCK_S], 1, seed=number)
        found += latest
        open_ = [v.culprit for v in latest if not is_told(v)]
        if not open_:
            break
    return found


@pytest.mark.parametrize("culprit", CULPRITS, ids=lambda culprit: culprit.name)
def test_cause_and_call_are_told(verdicts, culprit):
    own = [verdict for verdict in verdicts if verdict.culprit is culprit]

    if not any(map(is_told, own)):
        if all(verdict.lacked_a_cpu for verdict in own):
            pytest.skip("other processes had the CPU in every try")
        raise AssertionError(own)


def test_hardly_any_claim_is_wrong(verdicts):
    wrong = [verdict for verdict in verdicts if is_wrong(verdict)]

    assert len(wrong) <= 1, wrong


def test_gil_contention_names_the_threads_that_took_it(verdicts):
    contended = [v for v in verdicts if v.right and v.culprit.cause == "gil_contention"]

    if not contended:
        pytest.skip("other processes had the CPU in every try")
    assert any("contended.<locals>.spin" in v.attributes["event_loop.block.advice"] for v in contended)


def test_gil_holders_are_never_sent_to_a_thread(verdicts):
    for verdict in verdicts:
        if verdict.cause == "gil_held":
            advice = verdict.attributes["event_loop.block.advice"]
            assert "to_thread" not in advice
            assert "thread would not help" in advice


def test_code_that_releases_the_gil_is_sent_to_a_thread(verdicts):
    for verdict in verdicts:
        if verdict.culprit.name in ("hashlib", "zlib", "numpy product") and verdict.right:
            assert "to_thread" in verdict.attributes["event_loop.block.advice"]
