"""The rule of DESIGN.md 4.2, as arithmetic."""

from __future__ import annotations

from otel_loopblock.explain.stretches import MAX_LEFT, Charges, Stretch

THRESHOLD = 0.010


def take(charges, span_started, now, callback=0.0):
    return charges.take(callback, span_started, now, THRESHOLD)


def test_span_that_covers_the_whole_callback_takes_it_all():
    assert take(Charges(), -1.0, 0.05) == [Stretch(0.0, 0.05)]


def test_span_that_started_late_takes_only_its_part():
    assert take(Charges(), 0.03, 0.05) == [Stretch(0.03, 0.05)]


def test_short_span_takes_nothing_and_leaves_all_to_the_outer_one():
    charges = Charges()

    assert all(take(charges, 0.002 * n, 0.002 * (n + 1)) == [] for n in range(20))
    assert take(charges, -1.0, 0.04) == [Stretch(0.0, 0.04)]


def test_two_spans_one_after_another_take_their_own():
    charges = Charges()

    assert take(charges, 0.001, 0.05) == [Stretch(0.001, 0.05)]
    assert take(charges, 0.051, 0.10) == [Stretch(0.051, 0.10)]
    assert charges.rest(0.0, 0.101, THRESHOLD) == []


def test_inner_span_takes_its_own_and_leaves_the_stretch_before_it_to_the_outer():
    charges = Charges()

    assert take(charges, 0.05, 0.10) == [Stretch(0.05, 0.10)]
    assert take(charges, -1.0, 0.101) == [Stretch(0.0, 0.05)]


def test_stretch_that_no_span_takes_is_left_when_the_callback_ends():
    charges = Charges()

    assert take(charges, 0.05, 0.10) == [Stretch(0.05, 0.10)]
    assert charges.rest(0.0, 0.13, THRESHOLD) == [Stretch(0.0, 0.05), Stretch(0.10, 0.13)]


def test_span_with_an_end_in_the_past_takes_nothing_that_came_after():
    charges = Charges()
    take(charges, 0.05, 0.10)

    assert take(charges, -1.0, -0.5) == []
    assert take(charges, 0.01, 0.03) == [Stretch(0.01, 0.03)]
    assert charges.rest(0.0, 0.10, THRESHOLD) == [Stretch(0.0, 0.01), Stretch(0.03, 0.05)]


def test_nothing_is_taken_twice():
    charges = Charges()

    assert take(charges, -1.0, 0.05) == [Stretch(0.0, 0.05)]
    assert take(charges, -2.0, 0.055) == []
    assert charges.rest(0.0, 0.056, THRESHOLD) == []


def test_next_callback_begins_with_a_clean_sheet():
    charges = Charges()
    take(charges, 0.05, 0.10)

    assert take(charges, -1.0, 1.02, callback=1.0) == [Stretch(1.0, 1.02)]


def test_span_that_starts_in_the_future_takes_nothing():
    charges = Charges()

    assert take(charges, 3600.0, 0.05) == []
    assert charges.rest(0.0, 0.05, THRESHOLD) == [Stretch(0.0, 0.05)]


def test_what_is_left_is_bounded():
    charges = Charges()
    for n in range(1000):
        take(charges, 0.04 * n + 0.02, 0.04 * n + 0.04)

    assert len(charges.left) <= MAX_LEFT


def test_spans_cover_a_callback_when_less_than_a_threshold_is_left():
    charges = Charges()
    assert not charges.cover(0.0, 0.05, THRESHOLD)

    take(charges, 0.0, 0.04)

    assert charges.cover(0.0, 0.045, THRESHOLD)
    assert not charges.cover(0.0, 0.055, THRESHOLD)  # what came after
    assert not charges.cover(0.02, 0.045, THRESHOLD)  # another callback
    take(charges, 0.08, 0.10)
    assert not charges.cover(0.0, 0.10, THRESHOLD)  # what came between
