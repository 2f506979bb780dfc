"""The judgement: figures in, a verdict out."""

from __future__ import annotations

import pytest

from otel_loopblock.testing.threads.parallelism.verdict import Figures, judge

COMPUTES_FREELY = {
    "workers": 4,
    "gil_share": 0.02,
    "gil_spread": 0.01,
    "cpu_share": 0.99,
    "parallel_share": 0.95,
    "others_share": 0.0,
    "reference_gil_share": 0.0,
    "observed_s": 0.4,
}
HOLDS = {**COMPUTES_FREELY, "gil_share": 0.98, "parallel_share": 0.02}
WAITS = {**COMPUTES_FREELY, "cpu_share": 0.01}


def verdict(figures, **changes):
    return judge(Figures(**{**figures, **changes}))


def test_code_that_computes_in_parallel_with_the_gil_free_releases_it():
    word, _, advice = verdict(COMPUTES_FREELY)
    assert word == "releases_gil"
    assert "thread pool helps" in advice


def test_code_that_holds_the_gil_and_takes_turns_holds_it():
    word, _, advice = verdict(HOLDS)
    assert word == "holds_gil"
    assert "process" in advice


def test_code_without_cpu_time_waits():
    word, _, advice = verdict(WAITS)
    assert word == "waits"
    assert "thread pool helps" in advice


def test_waiting_calls_that_wait_for_each_other_get_no_pool_recommended():
    word, _, advice = verdict(WAITS, parallel_share=0.0)
    assert word == "waits"
    assert "share a lock or a connection" in advice


def test_waiting_while_the_gil_is_held_is_holding_it():
    assert verdict(WAITS, gil_share=0.97, parallel_share=0.0)[0] == "holds_gil"


def test_threads_of_its_own_explain_why_more_threads_do_no_more():
    word, _, advice = verdict(COMPUTES_FREELY, parallel_share=0.05, others_share=0.9)
    assert word == "releases_gil"
    assert "already uses several CPUs" in advice


@pytest.mark.parametrize("gil_share", [0.3, 0.5, 0.7])
def test_gil_held_for_part_of_the_time_is_mixed(gil_share):
    word, _, advice = verdict(COMPUTES_FREELY, gil_share=gil_share, parallel_share=0.5)
    assert word == "mixed"
    assert f"{1 / gil_share:.1f} threads" in advice


def test_waiting_and_computing_with_the_gil_free_is_mixed_and_a_pool_helps():
    word, _, advice = verdict(COMPUTES_FREELY, cpu_share=0.5)
    assert word == "mixed"
    assert "thread pool helps" in advice


def test_gil_free_and_yet_taking_turns_is_mixed():
    assert verdict(COMPUTES_FREELY, parallel_share=0.1)[0] == "mixed"


@pytest.mark.parametrize(
    ("figures", "changes"),
    [
        (HOLDS, {"parallel_share": 0.8}),
        (HOLDS, {"parallel_share": None}),
        (COMPUTES_FREELY, {"parallel_share": 0.5}),
        (COMPUTES_FREELY, {"parallel_share": None}),
        (COMPUTES_FREELY, {"parallel_share": 0.1, "others_share": 0.15}),
        (COMPUTES_FREELY, {"reference_gil_share": 0.5}),
        (COMPUTES_FREELY, {"gil_spread": 0.6}),
        (COMPUTES_FREELY, {"observed_s": 0.01}),
        (WAITS, {"reference_gil_share": 0.5}),
    ],
)
def test_contradicting_or_missing_evidence_is_inconclusive(figures, changes):
    word, _, advice = verdict(figures, **changes)
    assert word == "inconclusive"
    assert "again" in advice
