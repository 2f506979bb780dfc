"""The kernel's timer: set from anywhere, waited for by one, and never taken for somebody else's."""

from __future__ import annotations

import os
import struct
import sys
import threading
import time

import pytest

from otel_loopblock import alarm
from otel_loopblock.alarm import Alarm
from otel_loopblock.runs import Runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="timerfd is Linux's")


@pytest.fixture
def ring():
    made = Alarm()
    yield made
    made.close()


def _took(ring, seconds):
    began = time.perf_counter()
    ring.wait(seconds)
    return time.perf_counter() - began


def _other_timer(seconds, period):
    kernel = alarm._kernel()
    made = kernel.create(1, 0)
    assert kernel.settime(made, 0, struct.pack("@4l", period, 0, seconds, 0), None) == 0
    return made


def test_it_goes_off(ring):
    assert ring.set(0.05)

    assert 0.04 < _took(ring, 30) < 15


def test_once_gone_off_it_does_not_wait_until_cleared(ring):
    ring.set(0.0)
    assert _took(ring, 30) < 15
    assert _took(ring, 30) < 15

    assert ring.set(None)

    assert _took(ring, 0.1) > 0.09


def test_set_again_it_goes_off_later_and_not_before(ring):
    ring.set(0.05)
    waited = []
    thread = threading.Thread(target=lambda: waited.append(_took(ring, 30)))
    thread.start()
    for _ in range(100):
        ring.set(0.3)
        time.sleep(0.002)
    thread.join(30)

    assert 0.4 < waited[0] < 20


def test_its_descriptor_is_not_inherited(ring):
    assert not os.get_inheritable(ring._descriptor)


def test_one_that_the_application_has_closed_is_lost(ring):
    os.close(ring._descriptor)

    assert not ring.set(0.0)
    assert not ring.set(None)
    assert _took(ring, 30) < 15  # who waits comes to see it
    ring.close()


def test_a_file_that_got_its_number_is_left_alone(ring):
    number = ring._descriptor
    reading, writing = os.pipe()
    os.write(writing, b"eight by")
    os.dup2(reading, number)
    try:
        ring.wait(0.01)
        assert not ring.set(0.0)
        ring.close()

        assert os.read(number, 100) == b"eight by"
    finally:
        for descriptor in (number, reading, writing):
            os.close(descriptor)


@pytest.mark.parametrize("make", [lambda: _other_timer(0, 0), lambda: os.memfd_create("other")])
def test_a_file_that_got_its_number_is_not_closed(ring, make):
    number, other = ring._descriptor, make()
    os.dup2(other, number)
    ring.close()

    os.close(number)
    os.close(other)


def test_a_timer_of_the_application_that_got_its_number_goes_on(ring):
    number = ring._descriptor
    other = _other_timer(50, 7)
    os.dup2(other, number)
    try:
        assert not ring.set(0.01)
        ring.close()

        kernel = alarm._kernel()
        value = kernel.value()
        assert kernel.gettime(number, value) == 0
        assert (round(value[2] + value[3] / 1e9, -1), list(value[:2])) == (50, [7, 0])
    finally:
        os.close(number)
        os.close(other)


def test_forked_child_gives_up_the_alarm_of_its_parent_and_leaves_it_set():
    runs = Runs()
    runs.open()
    ring = runs._alarm
    number = ring._descriptor
    ring.set(0.3)
    pid = os.fork()
    if pid == 0:
        try:
            runs.forget()
            os.fstat(number)
        except OSError:
            os._exit(7)
        os._exit(1)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 7
    assert _took(ring, 30) < 15
    runs.close()
