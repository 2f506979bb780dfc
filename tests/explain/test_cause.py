"""From clock readings to a cause: the rules, one by one."""

from __future__ import annotations

import pytest

from otel_loopblock.explain.cause import judge
from otel_loopblock.explain.measurements import Measurements
from otel_loopblock.watch.evidence import Throttling

QUIET = Measurements(
    duration_s=0.1,
    thread_cpu_s=(0.0, 0.0),
    process_cpu_s=0.0,
    gc_s=0.0,
    queued_s=0.0,
    runs=1,
    late_s=0.0,
    long_late_s=0.0,
    long_cpu_s=0.0,
    stopped_s=0.0,
    untold_s=0.0,
    wake_ups=10,
    looks=10,
    switch_interval_s=0.005,
    tick_s=0.0025,
    in_call=True,
    in_c_call=True,
    call_waits=False,
    call_holds_gil=False,
)
"""A thread that waited for a tenth of a second beside an idle process."""
BUSY = QUIET._replace(thread_cpu_s=(0.1, 0.1), process_cpu_s=0.1)
KEPT = {"late_s": 0.09, "long_late_s": 0.09, "wake_ups": 1}
"""Somebody kept the GIL from soon after the start until the end; by whom, the clocks of the CPU tell."""


@pytest.mark.parametrize(
    ("cause", "measurements"),
    [
        ("wait", QUIET),
        ("wait", QUIET._replace(late_s=0.09, process_cpu_s=0.1, runs=20, call_waits=True)),
        ("wait", QUIET._replace(late_s=0.09, process_cpu_s=0.1, runs=2)),
        ("gil_contention", QUIET._replace(late_s=0.09, process_cpu_s=0.1, runs=20)),
        ("gil_contention", QUIET._replace(late_s=0.09, process_cpu_s=0.1, runs=None, queued_s=None)),
        ("gil_held", QUIET._replace(**KEPT)),
        ("gil_held", QUIET._replace(**KEPT, runs=None)),
        ("gil_held", QUIET._replace(**KEPT, runs=10)),
        ("gil_held", QUIET._replace(**KEPT, runs=40)),
        ("gil_contention", QUIET._replace(**KEPT, runs=18)),
        ("gil_contention", QUIET._replace(**KEPT, runs=18, process_cpu_s=0.1)),
        ("unknown", QUIET._replace(**KEPT, in_c_call=False)),
        ("unknown", QUIET._replace(late_s=0.06, runs=None)),
        ("cpu", BUSY),
        ("cpu", BUSY._replace(late_s=0.06, in_c_call=False)),
        ("gil_held", BUSY._replace(**KEPT, long_cpu_s=0.09)),
        ("gil_held", BUSY._replace(late_s=0.02, long_late_s=0.02, long_cpu_s=0.02, wake_ups=4)),
        ("cpu", BUSY._replace(late_s=0.02, long_late_s=0.02, long_cpu_s=0.02, wake_ups=13)),
        ("cpu", BUSY._replace(late_s=0.09, long_late_s=0.09, long_cpu_s=0.02)),
        ("gc", BUSY._replace(**KEPT, long_cpu_s=0.09, gc_s=0.08)),
        ("descheduled", QUIET._replace(queued_s=0.09)),
        ("descheduled", QUIET._replace(stopped_s=0.09)),
        ("unknown", QUIET._replace(stopped_s=0.09, process_cpu_s=0.1, runs=20)),
        (
            "cpu",
            BUSY._replace(
                late_s=0.06,
                long_late_s=0.06,
                long_cpu_s=0.025,
                wake_ups=5,
                in_call=False,
                call_holds_gil=None,
            ),
        ),
        ("gil_held", BUSY._replace(late_s=0.03, long_late_s=0.03, long_cpu_s=0.03, call_holds_gil=True)),
        ("descheduled", BUSY._replace(thread_cpu_s=(0.04, 0.04), queued_s=0.06, in_c_call=False)),
        ("cpu", BUSY._replace(thread_cpu_s=(0.04, 0.04), queued_s=0.06)),
        ("cpu", BUSY._replace(thread_cpu_s=(0.06, 0.06), queued_s=0.04, in_c_call=False)),
    ],
    ids=[
        "a call that leaves the GIL and the CPU alone",
        "a call known to wait, whatever others do",
        "a thread that never asked for the GIL while others had it",
        "a thread that asked for the GIL again and again",
        "the same where the kernel does not tell",
        "C code that waits with the GIL",
        "the same where the kernel does not tell how often it ran",
        "the same, waiting for longer than a switch interval at a time",
        "the same, waiting for shorter than that",
        "another thread's C code that waits with the GIL",
        "another thread's C code that computes with the GIL",
        "the GIL was kept for long, and no call was seen",
        "the GIL was taken, never for long, and nobody computed",
        "C code that released the GIL",
        "Python code: each look was a switch interval late",
        "one long look, late by the whole block",
        "C code that keeps the GIL, seen in one of several wake-ups",
        "the same, in one of many",
        "somebody else had the GIL while the watchdog wanted it",
        "the garbage collector had most of it",
        "the kernel says it waited for a CPU",
        "the whole process was stopped",
        "it cannot have been stopped: others computed",
        "Python code on a busy machine: the watchdog came late, but Python gives up the GIL",
        "a call known to hold the GIL on a busy machine",
        "the larger part without a CPU",
        "the CPU went to threads of the same C code",
        "the smaller part without a CPU",
    ],
)
def test_cause(cause, measurements):
    assert judge(measurements).cause == cause


@pytest.mark.parametrize(
    "measurements",
    [
        BUSY._replace(thread_cpu_s=None),
        BUSY._replace(duration_s=0.004, thread_cpu_s=(0.004, 0.004)),
        BUSY._replace(looks=0),
        BUSY._replace(thread_cpu_s=(0.01, 0.09)),
    ],
    ids=["no clock", "shorter than two ticks", "nobody looked", "readings that leave it open"],
)
def test_without_evidence_it_is_unknown(measurements):
    assert judge(measurements).cause == "unknown"


@pytest.mark.parametrize("call_holds_gil", [None, False, True])
@pytest.mark.parametrize("measurements", [QUIET, BUSY], ids=["waited", "computed"])
@pytest.mark.parametrize("wake_ups", [1, 10])
def test_lateness_that_cannot_be_told_is_never_held_against_the_gil(measurements, call_holds_gil, wake_ups):
    found = measurements._replace(call_holds_gil=call_holds_gil, wake_ups=wake_ups)

    assert judge(found._replace(untold_s=0.09)).cause == "unknown"
    assert judge(found._replace(untold_s=0.09, runs=None, queued_s=None)).cause == "unknown"
    assert all(judge(found._replace(untold_s=ms / 1000)).cause != "gil_held" for ms in range(0, 101, 5))


def test_call_that_only_waits_has_waited_whatever_cannot_be_told():
    assert judge(QUIET._replace(untold_s=0.09, call_waits=True)).cause == "wait"


@pytest.mark.parametrize("kept", [{}, KEPT], ids=["the GIL was free", "the GIL was taken"])
def test_idle_thread_may_have_had_no_cpu_before_the_kernel_was_asked(kept):
    late = QUIET._replace(**kept, unwatched_s=0.09)

    assert judge(late).cause == "unknown"
    assert judge(late._replace(call_waits=True)).cause == "wait"
    assert judge(late._replace(**KEPT, call_holds_gil=True)).cause == "gil_held"
    assert judge(late._replace(**KEPT, runs=18)).cause == "unknown"
    assert judge(late._replace(**KEPT, runs=18, process_cpu_s=0.1)).cause == "gil_contention"
    assert judge(late._replace(unwatched_s=0.03)).cause == judge(QUIET._replace(**kept)).cause != "unknown"


@pytest.mark.parametrize("runs", [1, None])
def test_call_that_can_only_compute_is_blamed_if_it_computed_for_a_threshold(runs):
    stalled = QUIET._replace(
        **KEPT, runs=runs, thread_cpu_s=(0.001, 0.001), process_cpu_s=0.02, call_holds_gil=True
    )
    computes = stalled._replace(own_threads=True)

    assert judge(computes).cause == "unknown"
    assert judge(computes._replace(thread_cpu_s=(0.02, 0.02))).cause == "gil_held"  # a block by itself
    assert judge(stalled._replace(own_threads=False)).cause == "gil_held"  # a driver's may wait with it


def test_thread_that_computed_did_whenever_the_kernel_was_asked():
    assert judge(BUSY._replace(unwatched_s=0.09)).cause == "cpu"


def test_call_known_to_keep_the_gil_kept_it_though_others_took_it_as_well():
    both = BUSY._replace(**KEPT, thread_cpu_s=(0.06, 0.06), process_cpu_s=0.11, runs=8, long_cpu_s=0.05)

    assert judge(both._replace(call_holds_gil=True)).cause == "gil_held"
    assert judge(both._replace(call_holds_gil=None, in_c_call=False)).cause == "cpu"


def test_mixed_block_shows_its_shares():
    evidence = judge(BUSY._replace(thread_cpu_s=(0.06, 0.06), queued_s=0.04, in_c_call=False)).evidence

    assert evidence["event_loop.block.share.cpu"] == pytest.approx(0.6)
    assert evidence["event_loop.block.share.descheduled"] == pytest.approx(0.4)
    assert evidence["event_loop.block.run_queue_delay"] == 0.04
    assert evidence["event_loop.block.cpu_time"] == 0.06


def test_throttling_is_shown_only_when_there_was_some():
    shown = judge(QUIET._replace(queued_s=0.09, throttled=Throttling(2, 0.08))).evidence
    hidden = judge(QUIET._replace(queued_s=0.09, throttled=Throttling(0, 0.0))).evidence

    assert shown["event_loop.block.throttled_periods"] == 2
    assert shown["event_loop.block.throttled_time"] == 0.08
    assert not any("throttled" in name for name in hidden)


def test_c_code_that_left_the_gil_is_told_from_code_that_needs_it():
    assert judge(BUSY).releases_gil is True
    assert judge(BUSY._replace(late_s=0.05)).releases_gil is None
    assert judge(BUSY._replace(untold_s=0.01)).releases_gil is None
    assert judge(BUSY._replace(late_s=0.05, in_c_call=False)).releases_gil is False
    assert judge(BUSY._replace(in_c_call=False)).releases_gil is True
    assert judge(BUSY._replace(in_call=False, in_c_call=False, queued_s=0.02)).releases_gil is None


OTHERS = QUIET._replace(process_cpu_s=0.09)
"""Somebody else computed all the time, and left the GIL alone."""


@pytest.mark.parametrize(
    ("own_threads", "cause", "releases"),
    [(True, "cpu", True), (None, "unknown", None), (False, "wait", None)],
)
def test_c_code_may_compute_in_threads_of_its_own(own_threads, cause, releases):
    found = judge(OTHERS._replace(own_threads=own_threads))

    assert found.cause == cause
    assert found.releases_gil is releases


def test_call_that_may_compute_waits_beside_an_idle_process():
    assert judge(QUIET._replace(own_threads=True)).cause == "wait"
    assert judge(OTHERS._replace(own_threads=True, call_waits=True)).cause == "wait"
