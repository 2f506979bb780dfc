"""What a loop that rested waited for, from what was counted of its thread."""

from __future__ import annotations

import sys
import threading

import pytest

from otel_loopblock.watch import keeper, waits
from otel_loopblock.watch.waits import NO_CPU_S, Rest, judge, stood_still

THRESHOLD_S = 0.01
SINCE = 100.0


def _judge(*, lasted_s, queued_s=0.0, runs=1, cpu_s=0.0002, process_cpu_s=0.0005, due=None):
    now = SINCE + lasted_s
    return judge(Rest(SINCE, now, queued_s, runs, cpu_s, process_cpu_s, due), THRESHOLD_S)


def _runs(waited_s):
    """How often a thread that waits for the GIL gets a CPU: first, per interval, and at the end."""
    return int(waited_s / sys.getswitchinterval()) + 2


@pytest.fixture(autouse=True)
def nobody_computes(monkeypatch):
    monkeypatch.setattr(waits, "episodes", waits.Episodes())
    monkeypatch.setattr(keeper, "_cpu_seconds", lambda thread: 0.0)


@pytest.fixture
def kept(monkeypatch):
    """A thread is found that kept the GIL."""
    found = keeper.Found(keeper.Keeper(1, "worker", None, None))
    monkeypatch.setattr(waits.threads, "find", lambda *_: found)


@pytest.mark.parametrize("waited_s", [0.02, 0.1, 1.0])
def test_rest_that_ends_with_a_wait_for_the_gil_is_told_from_when_it_was_wanted(waited_s, kept):
    wait = _judge(lasted_s=3.0, runs=_runs(waited_s), process_cpu_s=waited_s)

    assert wait.cause == "gil_contention"
    assert wait.ended == SINCE + 3.0
    assert wait.ended - wait.began == pytest.approx(waited_s, rel=0.02, abs=sys.getswitchinterval())


def test_long_rest_is_no_wait():
    assert _judge(lasted_s=60.0) is None


def test_gil_that_is_passed_on_within_the_threshold_is_no_wait():
    assert _judge(lasted_s=0.5, runs=3, process_cpu_s=0.5) is None


def test_wait_that_began_before_the_counters_were_read_is_no_longer_than_these_tell(kept):
    wait = _judge(lasted_s=0.05, runs=30, process_cpu_s=0.05)
    assert wait.began == SINCE


def test_heartbeat_tells_when_it_was_due(kept):
    wait = _judge(lasted_s=0.2, runs=_runs(0.1), process_cpu_s=0.1, due=SINCE + 0.05)
    assert wait.began == SINCE + 0.05


@pytest.mark.parametrize(("waited_s", "computed_s"), [(0.2, 0.0), (0.2, 0.07), (0.03, 0.02)])
def test_loop_that_is_woken_up_for_no_callback_waits_for_nobody(waited_s, computed_s, kept):
    assert _judge(lasted_s=1.0, runs=_runs(waited_s), process_cpu_s=computed_s) is None


def test_wait_is_not_told_where_nobody_is_found_who_may_have_kept_the_gil():
    assert _judge(lasted_s=1.0, runs=_runs(0.2), process_cpu_s=0.2) is None


@pytest.mark.parametrize(("waited_s", "told"), [(0.03, False), (0.2, True)])
def test_wait_for_several_is_told_where_it_is_long(waited_s, told, monkeypatch):
    monkeypatch.setattr(waits.threads, "find", lambda *_: keeper.Found(None, (object(),)))
    wait = _judge(lasted_s=1.0, runs=_runs(waited_s), process_cpu_s=waited_s)
    assert (wait is not None) is told


def test_thread_that_had_no_cpu_was_descheduled():
    wait = _judge(lasted_s=1.0, runs=2, queued_s=0.1, process_cpu_s=0.5)

    assert wait.cause == "descheduled"
    assert wait.found.keeper is None
    assert wait.ended - wait.began == pytest.approx(0.1, abs=0.006)


def test_timer_that_is_late_in_a_process_that_stood_still_was_descheduled():
    wait = _judge(lasted_s=0.5, due=SINCE + 0.4)

    assert wait.cause == "descheduled"
    assert wait.began == SINCE + 0.4


def test_timer_that_is_late_while_others_compute_is_not():
    """Nobody knows why: it was not counted as waiting for anything."""
    assert _judge(lasted_s=0.5, due=SINCE + 0.4, process_cpu_s=0.1) is None


def test_short_lack_of_a_cpu_is_left_to_the_lag():
    assert _judge(lasted_s=1.0, queued_s=0.8 * NO_CPU_S) is None


def test_time_without_a_cpu_is_told_once_whatever_the_number_of_loops():
    assert _judge(lasted_s=0.5, due=SINCE + 0.4) is not None
    assert _judge(lasted_s=0.5, due=SINCE + 0.45) is None


class TestStoodStill:
    def test_process_in_which_nobody_computed_was_stopped(self):
        wait = _stood_still()
        assert (wait.cause, wait.began, wait.ended) == ("descheduled", SINCE, SINCE + 0.1)

    @pytest.mark.parametrize(
        "else_",
        [{"queued_s": 0.06}, {"process_cpu_s": 0.06}, {"busy_s": 0.06}, {"runs": 15}, {"lasted_s": 0.009}],
    )
    def test_what_was_late_for_another_reason_was_not(self, else_):
        assert _stood_still(**else_) is None

    @pytest.mark.usefixtures("kept")
    def test_what_was_told_of_a_loop_already_is_not_told_again(self):
        assert _judge(lasted_s=0.1, runs=_runs(0.1), process_cpu_s=0.1).cause == "gil_contention"
        assert _stood_still() is None


def _stood_still(*, lasted_s=0.1, queued_s=0.0, process_cpu_s=0.001, busy_s=0.0, runs=2):
    rest = Rest(SINCE, SINCE + lasted_s, queued_s, runs, 0.0, process_cpu_s, due=SINCE)
    return stood_still(rest, THRESHOLD_S, busy_s)


class TestKeeper:
    @pytest.fixture
    def computing(self, monkeypatch):
        """Threads that have computed for so long since they were read last: begins one."""
        spent, over = {}, threading.Event()
        monkeypatch.setattr(keeper, "_cpu_seconds", lambda thread: spent.get(thread.name, 0.0))
        threads = keeper.Threads()
        threads.read()
        started = []

        def begin(name, seconds):
            thread = threading.Thread(target=over.wait, name=name)
            thread.start()
            started.append(thread)
            spent[name] = seconds

        yield threads, begin
        over.set()
        for thread in started:
            thread.join()

    def test_one_that_computed_kept_it(self, computing):
        threads, begin = computing
        begin("worker", 0.09)
        begin("idle", 0.0)

        found = threads.find(0.1, 0.1, 0.0)

        assert found.keeper.thread_name == "worker"
        assert any(frame[0].co_name == "wait" for frame in found.keeper.look.frames)

    def test_one_that_computes_on_without_the_gil_did_not(self, computing, monkeypatch):
        threads, begin = computing
        begin("worker", 0.09)
        cpu = keeper._cpu_seconds
        monkeypatch.setattr(
            keeper,
            "_cpu_seconds",
            lambda thread: cpu(thread) and cpu(thread) + keeper.perf_counter(),
        )

        assert threads.find(0.1, 0.1, 0.0) == keeper.Found(None)

    def test_of_two_that_computed_alike_neither_is_blamed(self, computing):
        threads, begin = computing
        begin("one", 0.05)
        begin("other", 0.04)

        found = threads.find(0.1, 0.1, 0.0)

        assert found.keeper is None
        assert len(found.others) == 2

    def test_threads_of_ours_are_never_blamed(self, computing):
        threads, begin = computing
        begin("otel-loopblock-worker", 0.09)

        assert threads.find(0.1, 0.1, 0.0) == keeper.Found(None)

    def test_what_it_computed_before_does_not_count(self, computing):
        threads, begin = computing
        begin("worker", 5.0)
        threads.read()

        assert threads.find(0.1, 0.1, 0.0) == keeper.Found(None)

    def test_they_are_read_again_where_the_process_has_computed_for_as_long_as_matters(self, computing):
        threads, begin = computing
        threads.refresh(1.0)
        begin("worker", 0.09)

        threads.refresh(1.001)
        assert threads.find(0.1, 0.1, 0.0).keeper is not None
        threads.refresh(1.1)
        assert threads.find(0.1, 0.1, 0.0).keeper is None

    def test_same_thread_that_takes_it_again_for_a_moment_is_told_once(self, computing):
        threads, begin = computing
        begin("worker", 0.09)
        now = keeper.perf_counter()

        assert not threads.find(0.1, 0.1, now - 0.1).again
        assert threads.find(0.01, 0.01, now).again
        assert not threads.find(0.09, 0.09, now).again
