"""From the evidence of a callback to what was measured of one stretch."""

from __future__ import annotations

import pytest

from otel_loopblock.explain.cause import judge
from otel_loopblock.explain.measurements import held_looks, measure
from otel_loopblock.watch.evidence import Delay, Evidence, Look, Reading, Scheduling


@pytest.mark.parametrize(
    ("at_look", "at_end", "expected"),
    [(5.008, 5.008, (0.0, 0.005)), (5.005, 5.012, (0.007, 0.012)), (None, 5.008, (0.0, 0.008))],
    ids=["waited", "computed", "without the clock"],
)
def test_old_reading_leaves_open_no_more_than_passed_until_the_first_look(at_look, at_end, expected):
    evidence = Evidence(
        started=1.0,
        looks=(Look(1.005, 1.005, at_look, 0.0, (), None, ()),),
        before=Reading(0.992, 5.0, 0.0),
        end=Reading(1.012, at_end, 0.0, None, 0.5),
        delays=(),
        wake_ups=1,
        collections=(),
    )

    found = measure(
        evidence,
        evidence.looks,
        1.0,
        1.012,
        tick_s=0.0025,
        in_call=False,
        in_c_call=False,
        call_waits=False,
        call_holds_gil=None,
    )

    assert found.thread_cpu_s == pytest.approx(expected)


def test_measurements_of_a_stretch_leave_out_what_was_around_it():
    def look(at, cpu, queued):
        return Look(at - 0.001, at, cpu, cpu, (), None, (), Scheduling(queued, int(1000 * at)))

    evidence = Evidence(
        started=1.0,
        looks=(look(1.0, 5.0, 1.0), look(1.1, 5.1, 1.0), look(1.2, 5.1, 1.1)),
        before=Reading(0.999, 5.0, 5.0),
        end=Reading(1.2, 5.1, 5.1, Scheduling(1.1, 1200)),
        delays=(
            Delay(1.05, 1.15, gil_s=0.08, long_s=0.04, long_cpu_s=0.03, stopped_s=0.02, untold_s=0.01),
            Delay(1.16, 1.2, gil_s=0.02),
        ),
        wake_ups=12,
        collections=((1.09, 1.12), (1.3, 1.4)),
    )

    found = measure(
        evidence,
        evidence.looks[:2],
        1.0,
        1.1,
        tick_s=0.0025,
        in_call=False,
        in_c_call=False,
        call_waits=False,
        call_holds_gil=None,
    )

    assert found.duration_s == pytest.approx(0.1)
    assert found.thread_cpu_s == pytest.approx((0.1, 0.1))
    assert found.queued_s == 0.0
    assert found.runs == 100
    assert found.gc_s == pytest.approx(0.01)
    assert found.late_s == pytest.approx(0.04)
    assert found.long_late_s == pytest.approx(0.02)
    assert found.long_cpu_s == pytest.approx(0.015)
    assert found.stopped_s == pytest.approx(0.01)
    assert found.untold_s == pytest.approx(0.005)
    assert found.wake_ups == pytest.approx(6)


@pytest.mark.parametrize(
    ("schedulings", "unwatched", "cause"),
    [((None, None), 0.0, "wait"), ((0.5, None), 0.02, "unknown"), ((0.5, 0.5), 0.012, "wait")],
    ids=["the kernel does not tell", "it was asked once", "it was asked twice"],
)
def test_what_the_kernel_was_not_asked_about_is_unwatched(schedulings, unwatched, cause):
    at_look, at_end = (Scheduling(each, 1) if each is not None else None for each in schedulings)
    evidence = Evidence(
        started=1.0,
        looks=(Look(1.012, 1.012, 5.0, 5.0, (), None, (), at_look),),
        before=Reading(0.999, 5.0, 5.0),
        end=Reading(1.02, 5.0, 5.0, at_end),
        delays=(),
        wake_ups=1,
        collections=(),
    )

    found = measure(
        evidence,
        evidence.looks,
        1.0,
        1.02,
        tick_s=0.0025,
        in_call=True,
        in_c_call=True,
        call_waits=False,
        call_holds_gil=False,
    )

    assert found.unwatched_s == pytest.approx(unwatched)
    assert judge(found).cause == cause


def test_look_is_late_for_what_the_loops_thread_did_only_if_that_computed():
    delays = (
        Delay(1.0, 1.1, gil_s=0.1, long_s=0.1, long_cpu_s=0.09),
        Delay(1.1, 1.2, gil_s=0.1, long_s=0.1, long_cpu_s=0.01),
        Delay(1.2, 1.3, gil_s=0.1, long_cpu_s=0.0),
    )
    evidence = Evidence(1.0, (), None, Reading(1.3, None, 0.0), delays, 3, ())

    assert held_looks(evidence.delays) == {1.1}
