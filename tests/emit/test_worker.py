"""Work that a loop's thread leaves to another one."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

import pytest

from otel_loopblock import guard
from otel_loopblock.emit import worker as workers
from otel_loopblock.emit.worker import REST_S, THREAD_NAME, Worker


@pytest.fixture
def worker():
    guard.failures.clear()
    worker = Worker()
    yield worker
    worker.stop()
    for thread in _threads():
        thread.join(30)
    assert not guard.failures


@pytest.fixture
def busy(worker):
    """The thread is at a work item until this is set."""
    begun, over = threading.Event(), threading.Event()

    def work():
        begun.set()
        over.wait(60)

    worker.defer(work)
    assert begun.wait(30)
    yield over
    over.set()


def _threads():
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def test_there_is_no_thread_before_there_is_work(worker):
    assert not _threads()
    worker.defer(list)

    assert len(_threads()) == 1


def test_work_is_done_in_order_on_one_thread(worker):
    done = []
    for number in range(100):
        worker.defer(lambda number=number: done.append((number, threading.current_thread().name)))
    assert worker.drain(30)

    assert done == [(number, THREAD_NAME) for number in range(100)]
    assert len(_threads()) == 1


def test_work_is_pending_until_it_is_done(worker, busy):
    worker.defer(list)
    assert worker.pending == 2
    assert not worker.drain(0.01)
    busy.set()

    assert worker.drain(30)
    assert worker.pending == 0


def test_idle_thread_does_not_wake_up(worker):
    worker.defer(list)
    worker.drain(30)
    time.sleep(0.05)
    (thread,) = _threads()
    path = f"/proc/self/task/{thread.native_id}/status"
    if not os.path.exists(path):
        pytest.skip("the kernel does not tell")

    def switches():
        with open(path) as status:
            return [line for line in status if "ctxt_switches" in line]

    before = switches()
    time.sleep(0.3)
    assert switches() == before


def test_work_that_fails_is_counted_and_the_rest_is_done(worker):
    done = []

    def fail():
        raise LookupError("ours")

    worker.defer(fail)
    worker.defer(lambda: done.append(1))
    assert worker.drain(30)

    assert done == [1]
    assert guard.failures.pop("emit telemetry") == 1


def test_what_is_too_much_is_dropped_and_counted_and_not_done_by_the_caller(
    worker, busy, monkeypatch, caplog
):
    monkeypatch.setattr(workers, "MAX_DEFERRED", 5)
    done = []
    with caplog.at_level(logging.WARNING, "otel_loopblock"):
        for number in range(10):
            worker.defer(lambda number=number: done.append(number))

    assert done == []
    assert worker.pending == 5
    assert worker.dropped == 6
    assert guard.failures.pop("deliver telemetry as fast as it comes") == 6
    assert len(caplog.records) == 1
    busy.set()
    assert worker.drain(30)
    assert done == [0, 1, 2, 3]
    worker.defer(lambda: done.append("again"))
    assert worker.drain(30)
    assert done[-1] == "again"


def test_stop_does_what_is_pending_and_ends_the_thread(worker):
    done = []
    worker.defer(lambda: time.sleep(0.1))
    worker.defer(lambda: done.append(1))
    worker.stop()

    assert done == [1]
    assert not _threads()


def test_stop_does_not_wait_for_ever_and_counts_what_is_left(worker, busy):
    done = []
    for _ in range(3):
        worker.defer(lambda: done.append(1))
    began = time.perf_counter()
    worker.stop(0.1)

    assert time.perf_counter() - began < 1.0
    assert worker.dropped == 3
    busy.set()
    for thread in _threads():
        thread.join(30)
    assert not _threads()
    assert done == []


def test_work_that_comes_after_the_end_is_dropped(worker):
    worker.stop()
    worker.defer(pytest.fail)

    assert worker.dropped == 1
    assert not _threads()


def test_long_work_is_done_in_steps_with_a_rest_between_them(worker, monkeypatch):
    rests = []
    monkeypatch.setattr("otel_loopblock.emit.worker.sleep", rests.append)

    def steps():
        for step in range(3):
            yield
            done.append(step)

    done = []
    worker.defer(steps)
    assert worker.drain(30)

    assert done == [0, 1, 2]
    assert rests == [REST_S] * 3


def test_long_work_takes_no_rest_any_more_once_the_worker_is_to_stop(worker, monkeypatch):
    monkeypatch.setattr("otel_loopblock.emit.worker.REST_S", 0.2)

    def steps():
        for _ in range(100):
            yield
        done.append(1)

    done = []
    worker.defer(steps)
    worker.stop(10)

    assert done == [1]
    assert worker.dropped == 0


def test_work_may_stop_its_own_worker_and_what_waits_is_done(worker):
    done, go_on = [], threading.Event()
    worker.defer(lambda: go_on.wait(30))
    worker.defer(worker.stop)
    worker.defer(lambda: done.append(worker.drain()))
    go_on.set()
    for thread in _threads():
        thread.join(30)

    assert done == [False]
    assert worker.dropped == 0


def test_work_that_cannot_have_a_thread_is_dropped_and_counted(worker, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        worker.defer(pytest.fail)
    done = []

    assert worker.dropped == 1
    assert guard.failures.pop("start a thread for telemetry") == 1
    worker.defer(lambda: done.append(1))
    assert worker.drain(30)
    assert done == [1]


def test_delivery_at_exit_that_cannot_be_arranged_is_noted_and_one_thread_does_the_work(worker, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(workers.atexit, "register", fail)
    done = []
    for _ in range(3):
        worker.defer(lambda: done.append(len(_threads())))
        assert worker.drain(30)

    assert done == [1, 1, 1]
    assert list(guard.failures) == ["deliver first at exit"]
    guard.failures.clear()


def test_signal_handlers_may_defer_in_the_middle_of_that(worker):
    done = []
    before = signal.signal(signal.SIGALRM, lambda *_: worker.defer(lambda: done.append("signal")))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            worker.defer(lambda: done.append("loop"))
            worker.drain(30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert worker.drain(30)

    assert done.count("signal") > 10
    assert worker.pending == 0


def test_forked_child_has_its_own_thread_and_none_of_the_parents_work(worker, busy):
    done = []
    worker.defer(lambda: done.append("parent's"))
    with worker._starting:
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            nothing = worker.pending
            worker.defer(lambda: done.append("child's"))
            code = 0 if worker.drain(30) and done == ["child's"] and nothing == 0 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    busy.set()

    assert os.waitstatus_to_exitcode(status) == 0
    assert worker.drain(30)
    assert done == ["parent's"]
