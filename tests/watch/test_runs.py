"""When the alarm is put off, and when it must not be."""

from __future__ import annotations

import pytest

from otel_loopblock.watch import runs as module
from otel_loopblock.watch.alarm import MOMENTS
from otel_loopblock.watch.runs import DELAY_TICKS, LONGEST_WAIT_S, Runs, WakeUp

TICK = 0.0025


class Loop:
    """Stands for one."""


class FakeAlarm:
    """Goes off as the real one does; each wait meets the next of what happens :attr:`meanwhile`."""

    def __init__(self, clock):
        self.clock = clock
        self.number = self
        self.meanwhile = []
        self.settings = 0
        self.begun = []
        self.rung = self.broken = False

    def begin(self, step, last):
        assert 1 <= last <= MOMENTS
        self.origin, self.step, self.last, self.off = self.clock.now, step, last, False
        self._value = last
        self.begun.append((step, last))
        assert len(self.begun) < 100, "it waits for ever"
        return self.origin

    @property
    def at(self):
        return self.origin + self._value * self.step

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, number):
        assert 1 <= number <= self.last
        self.settings += 1
        self.off = self.off or self.clock.now >= self.at  # whoever waits is awake, and waits for the GIL
        self._value = number

    def wait(self):
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if not (self.rung or self.off or self.broken):
            self.clock.now = max(self.clock.now, self.at)
        self.rung = False

    def ring(self):
        self.rung = True


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
    """Have it wait until it is to look; how many ticks after the last ``meanwhile`` it was due, and did."""
    ended = []

    def note():
        ended.append(module.perf_counter.now)

    *earlier, last = meanwhile or [lambda: None]
    runs._alarm.meanwhile = [*earlier, lambda: (last(), note())]
    while not (woken := runs.wait(lambda: wanted)).wanted or runs._alarm.meanwhile:
        pass
    return round((woken.due - ended[0]) / TICK, 6), round((woken.at - ended[0]) / TICK, 6)


def _for_a_moment(runs):
    loop = Loop()

    def run():
        _begin(runs, loop)
        _end(runs, loop)

    return run


@pytest.fixture
def awake(runs):
    """A loop has run in the wait before."""
    runs._quiet = False
    return runs


@pytest.mark.parametrize("phase", [0.0, 0.3, 0.999])
def test_a_loop_that_runs_on_is_looked_at_after_one_to_two_ticks(awake, clock, phase):
    def begins():
        clock.now += phase * TICK
        _begin(awake, Loop())

    left = pytest.approx(DELAY_TICKS - phase)
    assert _wait(awake, begins) == (left, left)


def test_nobody_is_woken_for_a_loop_that_has_ended_since(awake):
    next_loop = Loop()
    last = _wait(awake, *[_for_a_moment(awake)] * 3, lambda: _begin(awake, next_loop))

    assert last == (DELAY_TICKS, DELAY_TICKS)
    assert len(awake._alarm.begun) == 4


def test_short_runs_put_it_off_each_time(awake, clock):
    loop = Loop()

    def many():
        for _ in range(MOMENTS - 3):
            _begin(awake, loop)
            clock.now += TICK
            _end(awake, loop)
        _begin(awake, loop)

    assert _wait(awake, many) == (pytest.approx(DELAY_TICKS), pytest.approx(DELAY_TICKS))
    assert len(awake._alarm.begun) == 1


def test_it_is_set_once_for_all_that_begin_before_the_same_moment(awake, clock):
    loop = Loop()

    def often():
        clock.now += 0.05 * TICK
        for _ in range(9):
            _begin(awake, loop)
            clock.now += 0.1 * TICK
            _end(awake, loop)

    awake._alarm.meanwhile = [often]
    awake.wait(lambda: False)
    assert awake._alarm.settings == 1


def test_it_is_not_put_off_for_ever(awake, clock):
    loop = Loop()

    def for_ever():
        while clock.now < awake._alarm.at:
            _begin(awake, loop)
            clock.now += TICK / 2
            _end(awake, loop)

    began = clock.now
    awake._alarm.meanwhile = [for_ever]
    woken = awake.wait(lambda: False)
    assert not woken.wanted
    assert woken.at - began == pytest.approx(MOMENTS * TICK)


@pytest.mark.parametrize("tick", [0.02, 0.25, 25.0])
def test_it_waits_for_no_longer_than_a_second_or_a_tick(awake, clock, tick):
    awake.tick_s, began = tick, clock.now
    awake.wait(lambda: False)

    assert clock.now - began == pytest.approx(max(LONGEST_WAIT_S, tick))


def test_a_loop_that_begins_when_the_wait_is_nearly_over_is_looked_at_in_time(awake, clock):
    def late():
        clock.now += (MOMENTS - 0.3) * TICK
        _begin(awake, Loop())

    # The wait ends; the next one is for what is left.
    assert _wait(awake, late) == (pytest.approx(1.3), pytest.approx(1.3))


def test_short_runs_in_one_thread_do_not_put_off_the_look_at_a_loop_in_another(awake, clock):
    long, short = Loop(), Loop()

    def both():
        _begin(awake, long)
        for _ in range(3):
            clock.now += 0.6 * TICK
            _begin(awake, short)
            _end(awake, short)

    left = pytest.approx(DELAY_TICKS - 3 * 0.6)
    assert _wait(awake, both) == (left, left)


def test_a_loop_that_begins_beside_another_is_looked_at_when_nothing_else_is_due(awake, clock):
    others, loop = [Loop(), Loop()], Loop()

    def together():
        for other in others:  # as two threads would, each before the other has asked
            awake.began[id(other)] = clock.now
        _begin(awake, loop)

    assert _wait(awake, together) == (DELAY_TICKS, DELAY_TICKS)


def test_a_loop_that_began_before_the_wait_is_looked_at_in_time_after_its_beginning(awake, clock):
    _begin(awake, Loop())
    clock.now += 0.6 * TICK

    assert _wait(awake) == (pytest.approx(1), pytest.approx(1))


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
    assert runs.wait(lambda: False) == WakeUp(clock.now, clock.now, 0, True)


def test_an_alarm_that_goes_off_at_once_again_and_again_is_given_up(awake, clock):
    awake._alarm.broken = True
    for _ in range(3):
        assert awake.can_wait(clock.now)
        assert not awake.wait(lambda: False).wanted

    assert not awake.can_wait(clock.now)


def test_an_alarm_that_went_off_too_early_now_and_then_is_kept(awake, clock):
    for broken in [True, True, False] * 3:
        awake._alarm.broken = broken
        awake.wait(lambda: False)

    assert awake.can_wait(clock.now)


def test_it_wakes_up_when_somebody_rings_however_loops_begin(awake, clock):
    loop = Loop()

    def rings():
        awake.ring(soon=True)
        for _ in range(5):
            _begin(awake, loop)
            _end(awake, loop)
            clock.now += 0.3 * TICK
        assert not awake._alarm.rung

    assert _wait(awake, rings) == (pytest.approx(-0.5), 0)


def test_who_rings_for_sooner_is_heard_sooner(awake):
    def rings():
        awake.ring(soon=True)
        awake.ring()
        awake.ring(soon=True)

    assert _wait(awake, rings) == (0, 0)


def test_who_rings_while_another_sets_the_alarm_is_heard(awake, clock, monkeypatch):
    set_it = awake._set

    def rings_in_between(now, ticks):
        awake._rung = True  # the other thread comes in before the number is written
        return set_it(now, ticks)

    def begins():
        monkeypatch.setattr(awake, "_set", rings_in_between)
        _begin(awake, Loop())

    assert _wait(awake, begins) == (0, 0)


def test_a_wait_that_begins_while_another_sets_the_alarm_is_set_too(awake, clock):
    runs, other = awake, Loop()

    class Slow(float):
        def __sub__(self, origin):
            if not runs._alarm.begun[1:]:
                runs._alarm.meanwhile = []
                runs._alarm.begin(TICK, MOMENTS)
                runs._moments = runs._moments._replace(origin=float(self))
                clock.now += TICK / 2
            return float(self) - origin

    def begins():
        clock.now += 7.5 * TICK
        runs.began[id(other)] = now = clock.now
        runs.put_off(Slow(now))

    runs._alarm.meanwhile = [begins]
    runs.wait(lambda: False)
    assert runs._alarm.value == DELAY_TICKS


def test_who_rings_later_does_not_put_off_a_look(awake, clock):
    def both():
        _begin(awake, Loop())
        clock.now += 1.5 * TICK
        awake.ring(soon=True)

    left = pytest.approx(DELAY_TICKS - 1.5)
    assert _wait(awake, both) == (left, left)


def test_it_does_not_wait_when_there_is_a_reason_not_to(runs, clock):
    began = clock.now
    assert runs.wait(lambda: True) == WakeUp(began, began, 0, True)


def test_where_nothing_ran_in_a_whole_wait_the_next_one_is_long_and_who_begins_rings(awake, clock):
    alarm = awake._alarm
    awake.wait(lambda: False)
    awake.wait(lambda: False)
    assert alarm.begun == [(TICK, MOMENTS), (LONGEST_WAIT_S, 1)]

    alarm.meanwhile = [lambda: (_begin(awake, Loop()), _begin(awake, Loop()))]
    assert awake.wait(lambda: False).wanted
    awake.began.clear()
    assert not awake.wait(lambda: False).wanted
    assert alarm.begun[2:] == [(LONGEST_WAIT_S, 1), (TICK, MOMENTS)]


def test_a_loop_that_began_before_a_long_wait_ends_it(awake, clock):
    awake.wait(lambda: False)
    _begin(awake, Loop())

    assert awake.wait(lambda: False) == WakeUp(clock.now, clock.now, 0, True)


def test_it_is_heard_at_once_who_rings_in_a_long_wait(awake, clock):
    awake.wait(lambda: False)

    assert _wait(awake, lambda: awake.ring(soon=True)) == (0, 0)


def test_whoever_begins_long_after_it_was_to_end_wakes_it(awake, clock):
    def clock_set_back():
        clock.now += (MOMENTS + 2 * DELAY_TICKS) * TICK  # and it waits on
        awake._alarm.off = awake._alarm.rung = False
        _begin(awake, Loop())
        assert awake._alarm.rung

    assert _wait(awake, clock_set_back) == (pytest.approx(-2 * DELAY_TICKS), 0)


def test_a_late_wake_up_was_due_when_the_alarm_went_off(awake, clock):
    def late():
        _begin(awake, Loop())
        clock.now += 5 * TICK

    assert _wait(awake, late) == (pytest.approx(DELAY_TICKS - 5), 0)


def test_it_tells_how_often_its_thread_got_a_cpu(awake, clock):
    def begins():
        clock.now += 4.5 * TICK
        _begin(awake, Loop())
        clock.now += 8 * TICK

    awake._alarm.meanwhile = [begins]
    assert awake.wait(lambda: False).moments == 4 + DELAY_TICKS


def test_what_is_due_next_is_the_alarm_while_it_is_waited_for(awake, clock):
    assert awake.next_due(5.0) == 5.0 + TICK

    def ask():
        _begin(awake, Loop())
        assert awake.next_due(clock.now) == pytest.approx(clock.now + DELAY_TICKS * TICK)
        assert awake.moments_before() == DELAY_TICKS - 1

    _wait(awake, ask)
    assert awake.moments_before() == 0
    assert awake.next_due(5.0) == 5.0 + TICK


def test_forked_child_waits_for_nobody(awake, clock):
    _begin(awake, Loop())
    awake.forget()

    assert not awake.began
    assert not awake.can_wait(clock.now)
    awake.put_off(clock.now)
    awake.ring()


def test_a_loop_that_began_long_before_the_wait_does_not_set_a_number_below_one(awake, clock):
    def begins_late():
        began = clock.now - 40 * TICK  # its thread lost the GIL between that and this
        awake.began[1] = began
        awake.put_off(began)
        assert awake._alarm.value == 1

    awake._alarm.meanwhile = [begins_late]
    assert awake.wait(lambda: False).wanted


def test_it_does_not_wait_for_a_loop_that_came_to_run_long_before_it_could(awake, clock):
    awake.began[1] = clock.now - 40 * TICK
    began = clock.now

    assert awake.wait(lambda: False) == WakeUp(began, began, 0, True)
