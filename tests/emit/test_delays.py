"""How much time blocks may cost the loop's thread for those who waited, and what is left out beyond it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_loopblock.config import Config
from otel_loopblock.emit.delays import BUDGET_S, MAX_BEHIND, MOST_S, SHARE, Delays


class Counter:
    """One of ours, and of how many it has been told."""

    value = 0

    def add(self, amount):
        self.value += amount


@pytest.fixture
def suppressed():
    return Counter()


@pytest.fixture
def worker():
    return SimpleNamespace(pending=0, deferred=[])


@pytest.fixture
def delays(worker, suppressed):
    worker.defer = worker.deferred.append
    nothing = dict.fromkeys(("functions", "routes", "tracer", "logger_provider"))
    return Delays(Config(), worker, instruments=SimpleNamespace(suppressed=suppressed), **nothing)


@pytest.mark.parametrize(
    ("lasted_s", "budget_s"), [(0.01, 0.0003), (0.02, 0.0004), (0.1, 0.002), (1.0, 0.02), (10.0, 0.05)]
)
def test_time_for_those_who_waited_grows_with_the_block(delays, lasted_s, budget_s):
    assert delays.new_victims(100.0, 100.0 + lasted_s)._budget_s == pytest.approx(budget_s)


def test_blocks_that_follow_each_other_get_a_small_share_of_the_time(delays, suppressed):
    sought = 0
    for number in range(1000):
        ended = 100.0 + 0.01 * number
        victims = delays.new_victims(ended - 0.01, ended)
        if victims is not None:
            sought += 1
            victims._spend(2 * BUDGET_S)

    assert sought * 2 * BUDGET_S <= MOST_S + SHARE * 10.0 + 2 * BUDGET_S
    assert sought >= 100
    assert suppressed.value == 1000 - sought


def test_delays_are_left_out_and_counted_while_the_worker_is_behind(delays, worker, suppressed):
    delays._record_later(7, list)
    worker.pending = MAX_BEHIND + 1
    delays._record_later(8, list)

    assert worker.deferred == [list]
    assert suppressed.value == 8
