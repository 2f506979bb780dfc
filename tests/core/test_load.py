"""How full a loop is, in simulated time; and samples of it."""

from __future__ import annotations

import random
import threading
import time
from contextvars import ContextVar, copy_context

import pytest

TICK_S = 0.0025
SATURATION_S = 0.1
BLOCK_S = 0.01
RESTS, FULL, OVER = 0, 1, 2


class Simulated:
    """A loop that runs callbacks one after the other, seen at each tick; times are made up."""

    def __init__(self, core):
        self.monitor = core.Monitor()
        self.now = self.tick_at = 1000.0
        self.cpu_s = 0.0
        self.told = []
        """When it was told that a loop was full, and what was full then."""
        self.full_since = None

    def callback(self, duration_s):
        self.monitor.started = self.now
        self._pass(duration_s, cpu=True)
        self.monitor.started = 0.0
        self.monitor.busy += duration_s
        self.monitor.runs += 1
        return duration_s

    def rest(self, duration_s):
        self._pass(duration_s)
        return duration_s

    def compute(self, duration_s):
        """The loop's own work: no callback, but CPU."""
        self._pass(duration_s, cpu=True)
        return duration_s

    def _pass(self, duration_s, cpu=False):
        until = self.now + duration_s
        while self.tick_at < until:
            if cpu:
                self.cpu_s += self.tick_at - self.now
            self.now = self.tick_at
            state = self.monitor.tick(self.now, self.cpu_s, SATURATION_S, BLOCK_S)
            if state == OVER:
                self.told.append(self.monitor.stretch)
            if state == FULL and self.full_since is None:
                self.full_since = self.now
            self.tick_at += TICK_S
        if cpu:
            self.cpu_s += until - self.now
        self.now = until

    @property
    def full(self):
        return self.monitor.stretch[0] == FULL


@pytest.fixture
def loop(core):
    return Simulated(core)


def test_blocks_that_no_tick_saw_fill_nothing_either(loop):
    """A busy machine has the watchdog miss them: the callback's end tells."""
    for _ in range(20):
        loop.tick_at = loop.now + 0.0295  # of each the first tick is its last
        loop.monitor.started = loop.now + 0.025
        loop.now += 0.03
        loop.monitor.tick(loop.now - 0.0005, loop.cpu_s, SATURATION_S, BLOCK_S)
        loop.monitor.started = 0.0
        loop.monitor.busy += 0.03
        loop.monitor.runs += 1
        loop.monitor.blocked_at = loop.now

        assert not loop.full


def test_what_a_thread_computes_while_its_loop_is_stopped_fills_nothing(loop):
    loop.monitor.stopped = 1
    loop.compute(0.5)
    assert not loop.full

    loop.monitor.stopped = 0
    loop.compute(0.5)
    assert loop.full


@pytest.mark.parametrize("load", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("burst_s", [0.002, 0.02, 0.07])
def test_loop_that_rests_is_never_full(loop, load, burst_s):
    until = loop.now + 60
    while loop.now < until:
        done = 0.0
        while done < burst_s - 1e-9:
            done += loop.callback(0.002)
        loop.rest(done * (1 - load) / load)
    assert loop.told == []
    assert loop.full_since is None


@pytest.mark.parametrize("load", [0.95, 1.0])
@pytest.mark.parametrize("callback_s", [0.0005, 0.009])
def test_full_loop_is_told_within_twice_the_time(loop, load, callback_s):
    loop.rest(1.0)
    began = loop.now
    while loop.now < began + 1.5:
        loop.callback(callback_s)
        loop.rest(callback_s * (1 - load) / load)
    ended = loop.now
    assert loop.full_since - began <= 2 * SATURATION_S
    loop.rest(1.0)
    [(_, since, until, busy_s, callbacks)] = loop.told
    assert since == pytest.approx(began, abs=2 * TICK_S)
    assert until == pytest.approx(ended, abs=4 * TICK_S)
    assert busy_s == pytest.approx(load * (until - since), rel=0.02)
    assert callbacks == pytest.approx((until - since) * load / callback_s, rel=0.02)
    assert not loop.full


def test_work_of_the_loop_itself_is_no_rest(loop):
    loop.rest(1.0)
    for _ in range(1000):
        loop.callback(0.00005)
        loop.compute(0.00015)
    assert loop.full
    loop.rest(1.0)
    assert len(loop.told) == 1


def test_blocks_alone_are_no_saturation(loop):
    loop.rest(1.0)
    for _ in range(20):
        loop.callback(0.3)
        loop.rest(0.0001)
    loop.rest(1.0)
    assert loop.told == []


def test_blocks_and_short_callbacks_are_one_stretch(loop):
    loop.rest(1.0)
    began = loop.now
    for _ in range(10):
        loop.callback(0.1)
        for _ in range(60):
            loop.callback(0.002)
        loop.rest(0.004)
    ended = loop.now
    loop.rest(1.0)
    [(_, since, until, _, callbacks)] = loop.told
    assert (since, until) == (pytest.approx(began, abs=0.005), pytest.approx(ended, abs=0.01))
    assert callbacks == pytest.approx(610, abs=3)


def test_short_pause_does_not_make_two_of_one(loop):
    loop.rest(1.0)
    for _ in range(2):
        for _ in range(200):
            loop.callback(0.002)
        loop.rest(0.015)
    loop.rest(1.0)
    assert len(loop.told) == 1


def test_pause_makes_two(loop):
    loop.rest(1.0)
    for _ in range(2):
        for _ in range(200):
            loop.callback(0.002)
        loop.rest(0.1)
    assert [round(until - since, 1) for _, since, until, *_ in loop.told] == [0.4, 0.4]


def test_both_cores_say_the_same(native):
    from otel_loopblock.core import pure

    pick = random.Random(7)
    both = Simulated(native), Simulated(pure)
    for _ in range(8_000):
        action, duration_s = pick.choice(("callback", "rest", "compute")), pick.expovariate(500)
        if action == "rest" and pick.random() < 0.98:
            duration_s /= 100
        elif action == "rest":
            duration_s *= 20
        for each in both:
            getattr(each, action)(duration_s)
    assert both[0].told == [pytest.approx(each) for each in both[1].told]
    assert len(both[0].told) > 3


def test_sample_of_the_main_thread_is_its_own_stack(native):
    """Of the callback that runs, with what the framework has chosen and the value of the variable."""
    variable = ContextVar("variable")
    waiter, monitor = native.Waiter(), native.Monitor()
    waiter.sample_s, waiter.variable = 0.01, variable
    monitor.is_main, monitor.started = 1, time.perf_counter()
    thread = threading.Thread(target=waiter.wait, args=((monitor,), 3000.0), daemon=True)

    def endpoint():
        """Chosen by the framework."""

    def answer(scope):
        deadline = time.perf_counter() + 30
        found = []
        while not found and time.perf_counter() < deadline:
            # The first one may be of the start of the thread.
            found = [each for each in waiter.samples() if each[2][0][0] is answer.__code__]
        return found

    def run():
        variable.set("of the request")
        return answer({"endpoint": endpoint, "method": "GET"})

    thread.start()
    [sample, *_] = copy_context().run(run)
    waiter.wake()
    thread.join(10)
    found, at, stack, chosen, value = sample
    assert found is monitor
    assert monitor.started <= at <= time.perf_counter()
    assert [code.co_name for code, *_ in stack[:2]] == ["answer", "run"]
    assert chosen == (0, endpoint, "GET")
    assert value == "of the request"


def test_sample_of_what_ended_has_no_stack(native):
    waiter, monitor = native.Waiter(), native.Monitor()
    waiter.sample_s = 0.01
    monitor.is_main, monitor.started = 1, time.perf_counter()
    thread = threading.Thread(target=waiter.wait, args=((monitor,), 3000.0), daemon=True)
    thread.start()
    deadline = time.perf_counter() + 30
    found = []
    while not any(not stack for _, _, stack, *_ in found) and time.perf_counter() < deadline:
        # In C, for longer than a sample takes: no instruction of Python in between.
        list(map(monitor.__setattr__, ["started"] * 200_000, map(float, range(1, 200_001))))
        found += waiter.samples()
    waiter.wake()
    thread.join(10)
    assert any(stack == () for _, _, stack, *_ in found)


def test_samples_are_bounded(native):
    waiter, monitor = native.Waiter(), native.Monitor()
    waiter.sample_s = 0.001
    monitor.is_main, monitor.started = 1, time.perf_counter()
    ends = []

    def wait():
        while not ends:
            waiter.wait((monitor,), 3000.0)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    until = time.perf_counter() + 0.5
    while time.perf_counter() < until:
        sum(range(100))
    ends.append(True)
    waiter.wake()
    thread.join(10)
    assert 1 < len(waiter.samples()) <= 64
    assert waiter.samples() == []


def test_waiter_asks_for_a_sample_of_another_thread(core):
    waiter, monitor = core.Waiter(), core.Monitor()
    waiter.sample_s = 0.02
    monitor.started = time.perf_counter()
    why, *_ = waiter.wait((monitor,), 3000.0, 30.0)
    assert (why, waiter.wants_sample) == (core.LOADED, 1)


@pytest.mark.parametrize("value", [1, "variable", print])
def test_variable_must_be_one(native, value):
    waiter = native.Waiter()
    with pytest.raises(TypeError, match="must be a ContextVar"):
        waiter.variable = value
