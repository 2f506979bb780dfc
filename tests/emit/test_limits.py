"""What is limited, and that nothing grows."""

from __future__ import annotations

from otel_loopblock.emit.limits import OTHER, Distinct, Interval, Rate


def test_rate_lets_a_burst_through_and_then_so_many_per_second():
    rate = Rate(10)

    assert [rate.allows(100.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert rate.allows(100.11)
    assert not rate.allows(100.11)
    assert [rate.allows(200.0) for _ in range(11)].count(True) == 10


def test_rate_below_one_per_second_lets_one_through_now_and_then():
    rate = Rate(0.5)

    assert rate.allows(100.0)
    assert not rate.allows(101.0)
    assert rate.allows(102.1)


def test_rate_survives_a_clock_that_goes_back():
    rate = Rate(1)
    rate.allows(100.0)

    assert not rate.allows(50.0)
    assert rate.allows(51.1)


def test_interval_is_per_key_and_remembers_a_bounded_number_of_keys():
    interval = Interval(60, max_keys=2)

    assert interval.allows("a", 0.0)
    assert not interval.allows("a", 59.0)
    assert interval.allows("b", 1.0)
    assert interval.allows("a", 60.0)
    assert interval.allows("c", 61.0)  # the longest unused, b, is forgotten
    assert interval.allows("b", 62.0)


def test_distinct_values_end_in_other():
    distinct = Distinct(2)

    assert [distinct(value) for value in ("a", "b", "c", "a")] == ["a", "b", OTHER, "a"]
