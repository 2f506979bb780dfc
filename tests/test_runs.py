"""When the alarm is put off, and when it must not be."""

from __future__ import annotations

import pytest

from otel_loopblock import runs as module
from otel_loopblock.runs import DELAY_TICKS, LONGEST_WAIT_S, PUT_OFF_TICKS, Runs

TICK = 0.0025


class Loop:
    """Stands for one."""


class FakeAlarm:
    """Goes off at :attr:`at`; whoever waits meets what the test has happen meanwhile, each time the next."""

    def __init__(self, clock):
        self.clock = clock
        self.at = None
        self.there = True
        self.waits = 0
        self.meanwhile = []
        self.settings = 0

    def set(self, seconds):
        if seconds is None:
            self.at = None
            return self.there
        self.settings += 1
        if self.there:
            self.at = self.clock.now + seconds
        return self.there

    def wait(self, seconds):
        self.waits += 1
        assert self.waits < 100, "it waits for ever"
        until = self.clock.now + seconds
        if self.meanwhile:
            self.meanwhile.pop(0)()
        goes_off = until if self.at is None else min(until, self.at)
        self.clock.now = max(self.clock.now, goes_off)

    def close(self):
        self.there = False


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "perf_counter", clock)
    return clock


@pytest.fixture
def runs(clock):
    runs = Runs()
    runs._alarm = FakeAlarm(clock)
    return runs


def _begin(runs, loop):
    """As the hook on ``run_forever`` does."""
    runs.began[id(loop)] = now = module.perf_counter()
    if now >= runs.put_off_from:
        runs.put_off(now)


def _end(runs, loop):
    runs.began.pop(id(loop), None)


def _wait(runs, *meanwhile, wanted=False):
    """Have it wait; how many ticks after the last ``meanwhile`` it was due, and woke up."""
    ended = []

    def note():
        ended.append(module.perf_counter.now)

    *earlier, last = meanwhile or [lambda: None]
    runs._alarm.meanwhile = [*earlier, lambda: (last(), note())]
    due, woken = runs.wait(lambda: wanted)
    return round((due - ended[0]) / TICK, 6), round((woken - ended[0]) / TICK, 6)


def test_a_loop_that_runs_on_is_looked_at_after_a_delay(runs):
    assert _wait(runs, lambda: _begin(runs, Loop())) == (DELAY_TICKS, DELAY_TICKS)


def test_nobody_is_woken_for_a_loop_that_has_ended_since(runs):
    loop, next_loop = Loop(), Loop()

    def for_a_moment():
        _begin(runs, loop)
        _end(runs, loop)

    assert _wait(runs, *[for_a_moment] * 3, lambda: _begin(runs, next_loop)) == (DELAY_TICKS, DELAY_TICKS)
    assert runs._alarm.settings == 4


def test_a_loop_for_which_it_was_not_put_off_is_looked_at_with_the_one_before(runs, clock):
    loop, next_loop = Loop(), Loop()
    left = DELAY_TICKS - 0.9 * PUT_OFF_TICKS

    def another_begins():
        _begin(runs, loop)
        clock.now += 0.9 * PUT_OFF_TICKS * TICK
        _end(runs, loop)
        _begin(runs, next_loop)

    assert _wait(runs, another_begins) == (pytest.approx(left), pytest.approx(left))


def test_who_rings_in_a_later_wait_is_heard(runs):
    loop = Loop()

    def for_a_moment():
        _begin(runs, loop)
        _end(runs, loop)

    assert _wait(runs, for_a_moment, runs.ring) == (0.0, 0.0)


def test_short_runs_put_it_off_each_time(runs, clock):
    loop = Loop()

    def many():
        for _ in range(100):
            _begin(runs, loop)
            clock.now += 0.5 * PUT_OFF_TICKS * TICK
            _end(runs, loop)
        _begin(runs, loop)

    assert _wait(runs, many) == (DELAY_TICKS, DELAY_TICKS)


def test_what_was_set_just_now_is_not_set_again(runs, clock):
    loop = Loop()

    def often():
        for _ in range(10):
            _begin(runs, loop)
            clock.now += 0.12 * PUT_OFF_TICKS * TICK
            _end(runs, loop)

    _wait(runs, often)
    assert runs._alarm.settings == 2


def test_it_is_not_put_off_for_ever(runs, clock):
    loop = Loop()

    def for_ever():
        for _ in range(int(2 * LONGEST_WAIT_S / TICK)):
            _begin(runs, loop)
            clock.now += TICK
            if clock.now >= runs._alarm.at:
                return
            _end(runs, loop)

    began = clock.now
    _wait(runs, for_ever)
    assert LONGEST_WAIT_S <= clock.now - began < 1.1 * LONGEST_WAIT_S


def test_short_runs_in_one_thread_do_not_put_off_the_look_at_a_loop_in_another(runs, clock):
    long, short = Loop(), Loop()

    def both():
        _begin(runs, long)
        for _ in range(3):
            clock.now += 0.6 * TICK
            _begin(runs, short)
            _end(runs, short)

    left = pytest.approx(DELAY_TICKS - 3 * 0.6)
    assert _wait(runs, both) == (left, left)


def test_an_alarm_that_has_gone_off_is_not_set_again_before_the_watchdog_is_awake(runs, clock):
    long, short = Loop(), Loop()
    settings = []

    def both():
        _begin(runs, long)
        clock.now += DELAY_TICKS * TICK
        _begin(runs, short)
        _end(runs, short)
        _end(runs, long)
        clock.now += 0.5 * TICK
        _begin(runs, short)
        settings.append(runs._alarm.settings)

    assert _wait(runs, both) == (DELAY_TICKS, DELAY_TICKS)  # for the short one, which runs on
    assert settings == [1]


def test_a_loop_that_begins_beside_another_is_looked_at_when_nothing_else_is_due(runs, clock):
    others, loop = [Loop(), Loop()], Loop()

    def together():
        for other in others:  # as two threads would, each before the other has asked
            runs.began[id(other)] = clock.now
        _begin(runs, loop)

    assert _wait(runs, together) == (DELAY_TICKS, DELAY_TICKS)


def test_a_loop_that_began_before_the_wait_is_looked_at_in_time_after_its_beginning(runs, clock):
    _begin(runs, Loop())
    clock.now += 1.5 * TICK

    left = pytest.approx(DELAY_TICKS - 1.5)
    assert _wait(runs) == (left, left)


def test_it_does_not_wait_for_a_loop_that_has_run_for_long(runs, clock):
    assert runs.can_wait(clock.now)
    loop, other = Loop(), Loop()
    _begin(runs, loop)
    assert loop in runs
    assert runs.can_wait(clock.now)
    clock.now += 2 * TICK
    _begin(runs, other)
    assert not runs.can_wait(clock.now)
    _end(runs, loop)
    assert loop not in runs
    assert runs.can_wait(clock.now)


def test_without_an_alarm_it_does_not_wait(clock):
    runs = Runs()

    assert not runs.can_wait(clock.now)
    assert runs.wait(lambda: False) == (clock.now, clock.now)


def test_it_wakes_up_when_somebody_rings_however_loops_begin(runs, clock):
    loop = Loop()

    def rings():
        runs.ring(TICK)
        for _ in range(3):
            _begin(runs, loop)
            _end(runs, loop)
            clock.now += 0.3 * TICK

    assert _wait(runs, rings) == (pytest.approx(0.1), pytest.approx(0.1))


def test_who_rings_for_sooner_is_heard_sooner(runs):
    def rings():
        runs.ring(10 * TICK)
        runs.ring()
        runs.ring(20 * TICK)

    assert _wait(runs, rings) == (0, 0)


def test_who_rings_for_later_does_not_put_off_a_look(runs, clock):
    def both():
        _begin(runs, Loop())
        clock.now += 1.5 * TICK
        runs.ring(TICK)

    left = pytest.approx(DELAY_TICKS - 1.5)
    assert _wait(runs, both) == (left, left)


def test_it_does_not_wait_when_there_is_a_reason_not_to(runs, clock):
    began = clock.now
    assert runs.wait(lambda: True) == (began, began)


def test_a_wake_up_that_was_not_due_was_not_late(runs, clock):
    due, woken = runs.wait(lambda: False)

    assert due == woken == 1000.0 + LONGEST_WAIT_S


def test_a_late_wake_up_was_due_when_the_alarm_went_off(runs, clock):
    def late():
        _begin(runs, Loop())
        clock.now += 5 * TICK

    assert _wait(runs, late) == (pytest.approx(DELAY_TICKS - 5), 0)


def test_an_alarm_that_is_lost_is_not_waited_for_again(runs, clock):
    def lost():
        runs._alarm.there = False
        _begin(runs, Loop())

    runs._alarm.meanwhile = [lost]
    due, woken = runs.wait(lambda: False)

    assert due == woken
    assert not runs.can_wait(clock.now)


def test_an_alarm_that_is_lost_before_the_wait_is_not_waited_for(runs, clock):
    runs._alarm.there = False

    assert runs.wait(lambda: False) == (1000.0, 1000.0)
    assert not runs.can_wait(clock.now)


def test_what_is_due_next_is_the_alarm_while_it_is_waited_for(runs, clock):
    assert runs.next_due(5.0) == 5.0 + TICK

    def ask():
        _begin(runs, Loop())
        assert runs.next_due(clock.now) == clock.now + DELAY_TICKS * TICK

    _wait(runs, ask)
    assert runs.next_due(5.0) == 5.0 + TICK
