"""Measurements of real functions. ``inconclusive`` is allowed on a busy machine, a wrong verdict never."""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import threading
import time

import pytest

from otel_loopblock.testing import assert_releases_gil, measure_parallelism

DATA = bytes(2_000_000)
DOCUMENT = json.dumps([{"number": number, "text": str(number)} for number in range(5_000)])


def measured(fn, *args, **options):
    """The report; measured again while the machine is too busy to tell."""
    for _ in range(4):
        report = measure_parallelism(fn, *args, **options)
        if report.verdict != "inconclusive":
            return report
    pytest.skip(f"the machine is too busy: {report}")


def python_loop():
    total = 0
    for number in range(100_000):
        total += number
    return total


def test_c_code_that_keeps_the_gil_holds_it():
    report = measured(json.loads, DOCUMENT)
    assert report.verdict == "holds_gil", report
    assert "process" in report.advice


def test_threads_of_blas_are_not_taken_for_the_gil():
    numpy = pytest.importorskip("numpy")
    matrix = numpy.ones((400, 400))
    report = measured(numpy.matmul, matrix, matrix)
    assert report.verdict == "releases_gil", report
    assert report.gil_share < 0.25


def test_report_has_the_figures_it_rests_on():
    report = measured(time.sleep, 0.005, workers=3)
    assert (report.function, report.verdict) == ("time.sleep", "waits")
    assert (report.workers, len(report.thread_cpu_s)) == (3, 3)
    assert report.calls >= 4  # repeated to a usable length
    assert 0.005 <= report.single_wall_s < 0.1
    assert report.parallel_wall_s >= 0.005
    assert report.speed_up > 1.2
    assert report.capacity > 0
    assert "time.sleep: waits" in str(report)
    assert "speed-up" in str(report)


def test_calls_that_share_a_lock_wait_for_each_other():
    lock = threading.Lock()

    def with_lock():
        with lock:
            time.sleep(0.02)

    report = measured(with_lock)
    assert report.verdict == "waits"
    assert report.speed_up < 2
    assert "share a lock" in report.advice


def test_a_call_longer_than_allowed_is_inconclusive_and_does_not_keep_us():
    release = threading.Event()
    began = time.monotonic()
    report = measure_parallelism(release.wait, 60, max_seconds=1)
    release.set()
    assert report.verdict == "inconclusive"
    assert "1 s" in report.reason
    assert report.runs == 0
    assert time.monotonic() - began < 30
    assert "inconclusive" in str(report)


def test_threads_are_gone_after_the_measurement():
    measure_parallelism(time.sleep, 0.001, max_seconds=5)
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("otel-loopblock-")]
    assert not left


def test_exception_of_the_function_reaches_the_caller():
    def fails():
        raise LookupError("nothing here")

    with pytest.raises(LookupError, match="nothing here"):
        measure_parallelism(fails)


def test_exception_in_a_parallel_run_only_reaches_the_caller():
    lock = threading.Lock()

    def alone():
        if not lock.acquire(blocking=False):
            raise RuntimeError("not alone")
        time.sleep(0.01)
        lock.release()

    with pytest.raises(RuntimeError, match="not alone"):
        measure_parallelism(alone)


def test_function_sees_the_context_of_the_caller():
    tenant = contextvars.ContextVar("tenant")
    tenant.set("shop")
    seen = set()

    def look():
        seen.add(tenant.get())
        time.sleep(0.01)

    measure_parallelism(look, max_seconds=5)
    assert seen == {"shop"}


async def coroutine_function():
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("fn", "options", "error", "message"),
    [
        (7, {}, TypeError, "7 is not callable"),
        (coroutine_function, {}, TypeError, "is a coroutine function"),
        (time.sleep, {"workers": 1}, ValueError, "workers=1 cannot be used; it must be at least 2"),
        (time.sleep, {"max_seconds": 0}, ValueError, "max_seconds=0 cannot be used"),
        (time.sleep, {"max_seconds": float("nan")}, ValueError, "max_seconds=nan cannot be used"),
    ],
)
def test_what_cannot_be_measured_is_refused(fn, options, error, message):
    with pytest.raises(error, match=message):
        measure_parallelism(fn, **options)


def test_assertion_passes_for_code_that_leaves_the_gil_alone():
    report = asserted(assert_releases_gil, hashlib.sha256, DATA)
    assert report.verdict == "releases_gil"
    assert report.gil_share < 0.25


def test_assertion_fails_for_python_code_with_the_report():
    with pytest.raises(AssertionError, match=r"python_loop: holds_gil[\s\S]*GIL held"):
        asserted(assert_releases_gil, python_loop)


def asserted(check, fn, *args):
    """``check(fn, *args)``; skipped where the machine is too busy to tell."""
    try:
        return check(fn, *args)
    except AssertionError as error:
        if ": inconclusive" in str(error):
            pytest.skip(str(error))
        raise
