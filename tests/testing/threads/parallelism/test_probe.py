"""The probe's arithmetic, on beats that are given, and what it sees of real code."""

from __future__ import annotations

import hashlib
import time
from time import perf_counter

import pytest

from otel_loopblock.testing.threads.parallelism.probe import Beat, GilProbe

TRIES = 3


def probe_that_saw(beats):
    probe = GilProbe()
    probe._beats = beats
    return probe


def beats(count, late_s, delay_s=0.0):
    step = 0.001 + late_s
    return [Beat(i * step, i * step + 0.001, (i + 1) * step, delay_s) for i in range(count)]


def test_timely_wake_ups_mean_that_nobody_held_the_gil():
    assert probe_that_saw(beats(100, 0.0001)).held_share(0, 0.11) == 0


def test_each_wake_up_late_by_the_switch_interval_means_held_all_the_time():
    assert probe_that_saw(beats(20, 0.005)).held_share(0, 0.12) == pytest.approx(1.0)


def test_one_wake_up_that_came_after_the_end_means_held_all_the_time():
    assert probe_that_saw([Beat(-0.0005, 0.0005, 0.5, 0.0)]).held_share(0, 0.1) == pytest.approx(1.0)


def test_half_held_is_about_a_half():
    seen = []
    for second in range(5):
        seen += [
            Beat(second + i * 0.001, second + (i + 1) * 0.001, second + (i + 1) * 0.001, 0.0)
            for i in range(500)
        ]
        seen.append(Beat(second + 0.5, second + 0.501, second + 1, 0.0))
    assert probe_that_saw(seen).held_share(0, 5) == pytest.approx(0.5, abs=0.02)


def test_lateness_for_want_of_a_cpu_is_not_the_gil():
    assert probe_that_saw(beats(20, 0.005, delay_s=0.0049)).held_share(0, 0.12) == 0


def test_beats_outside_the_time_in_question_do_not_count():
    early = [Beat(-1, -0.999, -0.5, 0.0)]
    assert probe_that_saw(early + beats(100, 0.0001)).held_share(0, 0.11) == 0
    assert probe_that_saw(early).held_share(0, 0.11) == 0


def test_real_code_is_told_apart():
    data = bytes(2_000_000)

    def share(work):
        with GilProbe() as probe:
            start = end = perf_counter()
            while end - start < 0.2:
                work()
                end = perf_counter()
        return probe.held_share(start, end)

    def shares(work):  # several: a machine that stands still for a moment spoils one
        return (share(work) for _ in range(TRIES))

    assert any(held > 0.7 for held in shares(lambda: sum(range(1_000_000))))
    assert any(held < 0.3 for held in shares(lambda: time.sleep(0.05)))
    assert any(held < 0.3 for held in shares(lambda: hashlib.sha256(data)))
