"""A short form of ``python -m tests.attach.rounds``; that one compares latencies as well."""

from __future__ import annotations

from tests.attach.rounds import run


def test_rounds_of_attaching_under_load_fail_no_request_and_leave_nothing(loop_kind):
    found = run(loop_kind, rounds=3, hold_s=0.3)
    assert found.failed == []
    assert found.requests > 50
    assert found.missed == 0
    assert found.is_as_before, (found.before, found.after)
