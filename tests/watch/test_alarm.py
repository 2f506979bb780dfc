"""The alarm: set from anywhere by a number, waited for by one thread that does without the GIL."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
import time
import types

import pytest

from otel_loopblock.watch import alarm, cgroup
from otel_loopblock.watch.alarm import MOMENTS, Alarm

pytestmark = pytest.mark.skipif(alarm._library() is None, reason="glibc is Linux's")


@pytest.fixture
def ring():
    return Alarm()


def _took(ring):
    began = time.perf_counter()
    ring.wait()
    return time.perf_counter() - began


def _waiting(ring):
    waited = []
    thread = threading.Thread(target=lambda: waited.append(_took(ring)), daemon=True)
    thread.start()
    return thread, waited


def test_it_goes_off_with_the_last_moment(ring):
    ring.begin(0.02, 10)

    assert 0.19 < _took(ring) < 15


@pytest.mark.parametrize("count", [1, MOMENTS])
def test_a_wait_can_have_as_many_moments(ring, count):
    ring.begin(0.1 / count, count)

    assert 0.09 < _took(ring) < 15


def test_it_goes_off_with_the_moment_that_a_number_says(ring):
    ring.begin(0.02, MOMENTS)
    ring.number.value = 3

    assert 0.05 < _took(ring) < 0.02 * MOMENTS


def test_one_that_is_put_off_while_somebody_waits_goes_off_later(ring):
    ring.begin(0.01, MOMENTS)
    ring.number.value = 5
    thread, waited = _waiting(ring)
    for number in range(5, 40):
        ring.number.value = number
        time.sleep(0.004)
    thread.join(30)

    assert 0.1 < waited[0] < 15


def test_one_that_is_set_while_somebody_waits_goes_off_sooner(ring):
    ring.begin(1.0, MOMENTS)
    thread, waited = _waiting(ring)
    time.sleep(0.1)
    ring.number.value = 1
    thread.join(30)

    assert 0.9 < waited[0] < 15


@pytest.mark.parametrize("waits", [True, False])
def test_who_rings_wakes_it(ring, waits):
    ring.begin(60.0, 1)
    if not waits:
        ring.ring()
    thread, waited = _waiting(ring)
    if waits:
        time.sleep(0.1)
        ring.ring()
    thread.join(30)

    assert len(waited) == 1


def test_it_passes_its_moments_without_the_gil(ring):
    ring.begin(0.005, MOMENTS)
    thread, waited = _waiting(ring)
    time.sleep(0.05)
    before = cgroup.scheduling(thread.native_id)
    ctypes.PyDLL(None).usleep(200_000)  # keeps the GIL
    after = cgroup.scheduling(thread.native_id)
    if before is None or after is None:
        pytest.skip("the kernel does not tell how often a thread ran")
    thread.join(30)

    assert after.runs - before.runs >= 10
    assert len(waited) == 1


def test_it_goes_by_the_clock_of_the_kernel_not_by_what_a_test_takes_for_the_time(ring, monkeypatch):
    for name in ("time", "time_ns", "clock_gettime", "clock_gettime_ns", "monotonic"):
        monkeypatch.setattr(time, name, lambda *_: 0)
    ring.begin(0.05, 2)

    assert 0.09 < _took(ring) < 15


def test_a_signal_counts_for_a_moment(ring):
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        ring.begin(60.0, 3)
        thread, waited = _waiting(ring)
        for _ in range(300):
            if not thread.is_alive():
                break
            time.sleep(0.02)
            signal.pthread_kill(thread.ident, signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert len(waited) == 1


def test_what_it_needs_lives_while_somebody_waits():
    made = Alarm()
    made.begin(0.05, 4)
    thread, waited = _waiting(made)
    time.sleep(0.05)
    del made
    gc.collect()
    spoil = [bytes(1024) for _ in range(1000)]
    thread.join(30)

    assert len(waited) == 1
    assert 0.19 < waited[0] < 15
    assert len(spoil) == 1000


def test_forked_child_makes_one_of_its_own(ring):
    ring.begin(60.0, 1)
    thread, waited = _waiting(ring)
    time.sleep(0.05)
    pid = os.fork()
    if pid == 0:
        made = Alarm()
        made.begin(0.02, 2)
        made.wait()
        os._exit(7)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 7
    assert not waited
    ring.ring()
    thread.join(30)
    assert len(waited) == 1


@pytest.mark.parametrize("missing", ["platform", "library"])
def test_elsewhere_there_is_none(monkeypatch, missing):
    if missing == "platform":
        monkeypatch.setattr(sys, "platform", "darwin")
    else:

        class Musl:
            """Its ``lfind`` reads the number once."""

            lfind = types.SimpleNamespace()
            sem_timedwait = ctypes.CDLL(None).sem_timedwait

            def __init__(self, name):
                pass

        monkeypatch.setattr(ctypes, "CDLL", Musl)
    alarm._library.cache_clear()
    try:
        with pytest.raises(OSError, match="no such alarm on this platform"):
            Alarm()
    finally:
        alarm._library.cache_clear()
