"""What a late wake-up of the watchdog lacked."""

from __future__ import annotations

import sys

import pytest

from otel_loopblock.watch.lateness import LONG_INTERVALS, explain

LONG_S = LONG_INTERVALS * sys.getswitchinterval()


def late(woke, at, *, cpu_s=0.0, loop_queued_s=0.0, own_queued_s=0.0, asked=None):
    return explain(
        1.0,
        woke,
        at,
        cpu_s=cpu_s,
        loop_queued_s=loop_queued_s,
        own_queued_s=own_queued_s,
        asked=asked,
    )


def test_wait_between_waking_up_and_having_the_gil_is_for_the_gil():
    delay = late(1.0, 1.0 + LONG_S + 0.001, cpu_s=0.004)

    assert delay.gil_s == delay.long_s == pytest.approx(LONG_S + 0.001)
    assert delay.long_cpu_s == 0.004
    assert delay.stopped_s == delay.untold_s == 0.0


def test_python_code_gives_up_the_gil_in_less_than_a_long_wait():
    delay = late(1.0, 1.0 + LONG_S - 0.0005, cpu_s=0.004)

    assert delay.gil_s == pytest.approx(LONG_S - 0.0005)
    assert delay.long_s == delay.long_cpu_s == 0.0


def test_nobody_keeps_the_gil_while_the_thread_that_has_it_has_no_cpu():
    assert late(1.0, 1.1, loop_queued_s=0.099).gil_s == pytest.approx(0.001)


def test_wait_for_the_gil_in_which_it_did_not_ask_for_it_is_a_stop():
    delay = late(1.0, 1.1, cpu_s=0.002, asked=1)

    assert delay.stopped_s == pytest.approx(0.1 - 2 * LONG_S)
    assert delay.gil_s == pytest.approx(2 * LONG_S)


@pytest.mark.parametrize("asked", [18, 10, None])
def test_wait_for_the_gil_in_which_it_asked_for_it_is_for_the_gil(asked):
    delay = late(1.0, 1.1, cpu_s=0.1, asked=asked)

    assert delay.stopped_s == 0.0
    assert delay.long_s == pytest.approx(0.1)


def test_late_without_having_waited_for_a_cpu_is_stopped():
    assert late(1.1, 1.1).stopped_s == pytest.approx(0.1)


def test_wait_for_a_cpu_is_nobodys_doing():
    delay = late(1.1, 1.1, own_queued_s=0.098)

    assert delay.stopped_s == pytest.approx(0.002)
    assert delay.gil_s == delay.untold_s == 0.0


def test_late_where_the_kernel_tells_nothing_is_untold():
    delay = late(1.1, 1.1, own_queued_s=None)

    assert (delay.stopped_s, delay.untold_s) == (0.0, pytest.approx(0.1))


def test_core_that_does_not_tell_when_it_woke_up_tells_of_no_gil():
    delay = late(None, 1.1, cpu_s=0.1)

    assert delay.untold_s == pytest.approx(0.1)
    assert delay.gil_s == delay.long_s == delay.long_cpu_s == 0.0
