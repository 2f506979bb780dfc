"""An exception that somebody raises in the middle of our code is not ours: it reaches the application."""

from __future__ import annotations

import ctypes
import functools
import gc
import signal
import sys
import threading
import time

import pytest

from otel_loopblock import core, guard
from otel_loopblock.emit.worker import Worker
from otel_loopblock.runtime import runtime
from tests import alarms
from tests.conftest import LOOPS


class Late(Exception):
    pass


class Handlers:
    def method(self, number, frame):
        raise Late("method")


def function(number, frame):
    raise Late("function")


def deeper(number, frame):
    function(number, frame)


def timed_out(number, frame):
    raise TimeoutError


def any_arguments(*arguments):
    raise Late("any")


def walking(number, frame):
    while frame is not None:
        frame = frame.f_back
    raise Late("walking")


class Callable:
    def __call__(self, number, frame):
        del frame
        raise Late("callable")


HANDLERS = {
    "function": function,
    "function that calls another": deeper,
    "TimeoutError": timed_out,
    "any arguments": any_arguments,
    "function that walks up the stack": walking,
    "object": Callable(),
    "method": Handlers().method,
    "partial": functools.partial(lambda name, number, frame: function(number, frame), "name"),
    "exit": lambda number, frame: sys.exit(3),
}


class Listener:
    """Wants all blocks; what it does then stands for any code of ours."""

    threshold_s = 0.01
    heartbeat_interval_s = 0.0
    watchdog = False
    saturation_s = 0.0
    samples = False
    max_samples = 2

    def __init__(self, work):
        self.work = work

    def callback_blocked(self, *args):
        self.work()

    def callback_running(self, *args):
        """Nothing."""

    def lag_measured(self, *args):
        """Nothing."""


@pytest.fixture
def interrupted():
    """Has a handler called for a signal."""
    before = signal.getsignal(signal.SIGALRM)

    def handle(handler):
        signal.signal(signal.SIGALRM, handler)
        return functools.partial(signal.raise_signal, signal.SIGALRM)

    yield handle
    signal.signal(signal.SIGALRM, before)


def outcome(loop_kind, work, block=time.sleep):
    """What the application is told where a block is reported by ``work``."""
    told = []
    listener = Listener(work)
    guard.failures.clear()
    runtime.add(listener)
    loop = LOOPS[loop_kind]()
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
    try:
        loop.call_soon(block, 0.03)
        loop.call_later(0.1, loop.stop)
        loop.run_forever()
    except (KeyboardInterrupt, SystemExit) as error:
        told.append(error)
    finally:
        loop.close()
        runtime.remove(listener)
    return [type(error) for error in told]


@pytest.mark.parametrize("handler", HANDLERS)
def test_what_a_signal_handler_raises_in_our_code_reaches_the_application(interrupted, loop_kind, handler):
    expected = {"TimeoutError": TimeoutError, "exit": SystemExit}.get(handler, Late)

    assert outcome(loop_kind, interrupted(HANDLERS[handler])) == [expected]
    assert not guard.failures


def test_what_a_signal_handler_raises_does_so_where_the_callback_has_failed(interrupted, loop_kind):
    def fail(seconds):
        time.sleep(seconds)
        raise LookupError

    told = outcome(loop_kind, interrupted(function), fail)

    # asyncio has dealt with the first one when the second comes.
    assert told == ([LookupError, Late] if loop_kind == "asyncio" else [Late])
    assert not guard.failures


def test_what_another_thread_has_raised_in_our_code_reaches_the_application(loop_kind):
    here, error = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(Late)
    raise_soon = functools.partial(ctypes.pythonapi.PyThreadState_SetAsyncExc, here, error)
    names = {"__name__": "otel_loopblock.tested", "raise_soon": raise_soon}
    exec("def work():\n raise_soon()\n for _ in range(100): pass\n", names)

    assert outcome(loop_kind, names["work"]) == [Late]
    assert not guard.failures


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 does not tell where it takes them")
def test_what_another_thread_has_raised_where_nothing_can_fail_reaches_the_application(loop_kind):
    here, error = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(LookupError)
    raise_soon = functools.partial(ctypes.pythonapi.PyThreadState_SetAsyncExc, here, error)

    def work():  # stands for code of others that ours calls
        threading.Timer(0.05, raise_soon).start()
        while True:
            pass

    assert outcome(loop_kind, work) == [LookupError]
    assert not guard.failures


@pytest.mark.parametrize("core_name", ["native", "pure"])
def test_each_of_many_that_come_in_the_middle_of_our_code_reaches_the_application(loop_kind, core_name):
    if core_name != core.NAME == "pure":
        pytest.skip("only the twin is tried")
    found = alarms.run(loop_kind, core_name, 3)

    assert found["in ours"] >= 10
    # Before 3.11 Python does not say enough of where it was: one of some thousand is lost.
    most = max(1, found["raised"] // 200) if sys.version_info < (3, 11) else 0
    assert found["lost"] <= most
    assert found["failures"] == {}


def _fail():
    raise Late


@pytest.mark.parametrize("work", [_fail, lambda: [].pop(), lambda: _with_frame(1, sys._getframe())])
def test_our_own_errors_do_not(loop_kind, work):
    assert outcome(loop_kind, work) == []
    assert guard.failures.pop("report a block") == 1


def _with_frame(number, frame):
    frame = None
    raise Late(number, frame)


def test_error_of_a_thread_of_ours_stays_there():
    worker = Worker()
    worker.defer(functools.partial(exec, "raise late", {"__name__": "otel_loopblock.tested", "late": Late}))
    done = []
    worker.defer(lambda: done.append(1))

    assert worker.drain(30)
    assert done == [1]
    worker.stop()
    assert guard.failures.pop("emit telemetry") == 1


class Count:
    def __init__(self):
        self.raised = self.seen = self.ignored = 0

    def handler(self, number, frame):
        self.raised += 1
        raise Late

    def ignore(self, found):
        self.ignored += found.exc_type is Late


def test_what_is_raised_while_the_collector_runs_reaches_the_application(interrupted, monkeypatch):
    count = Count()
    interrupted(count.handler)
    monkeypatch.setattr(sys, "unraisablehook", count.ignore)
    listener = Listener(list)
    ballast = [[] for _ in range(100_000)]  # a collection takes milliseconds
    runtime.add(listener)
    try:
        while count.raised < 15:
            before = count.raised
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005)
                while count.raised == before:
                    gc.collect()
                for _ in range(1000):
                    list(ballast[:1])
            except Late:
                count.seen += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        runtime.remove(listener)

    assert count.seen == count.raised - count.ignored
    if core.NAME == "native":
        assert count.ignored == 0


@pytest.fixture
def late_start(interrupted, monkeypatch):
    """A signal handler raises as the next thread is started."""
    raise_signal, original = interrupted(function), threading.Thread.start

    def start(thread):
        monkeypatch.setattr(threading.Thread, "start", original)
        raise_signal()

    monkeypatch.setattr(threading.Thread, "start", start)


def test_worker_whose_start_was_interrupted_works(late_start):
    worker = Worker()
    done = []
    with pytest.raises(Late):
        worker.defer(lambda: done.append(1))

    assert worker.drain(30)
    assert done == [1]
    worker.stop()
    assert not guard.failures


def test_watchdog_whose_start_was_interrupted_watches(late_start):
    with pytest.raises(Late):
        runtime.watchdog.start()
    assert runtime.watchdog.life.thread.is_alive()
    runtime.watchdog.stop(30)


@pytest.fixture
def dead_start(interrupted, monkeypatch):
    """A signal handler raises when the next thread is there: CPython forgets it then, and it dies of that."""
    raise_signal = interrupted(function)
    name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
    original = getattr(threading, name)

    def start(*args, **kwargs):
        monkeypatch.setattr(threading, name, original)
        held = threading._active_limbo_lock
        with held:  # so long it waits, and is forgotten first
            original(*args, **kwargs)
            raise_signal()

    # The thread says so itself, nobody else can.
    monkeypatch.setattr(sys, "unraisablehook", lambda found: None)
    monkeypatch.setattr(threading, name, start)


def test_signal_handler_that_raises_when_the_thread_has_begun_is_no_failure(interrupted, monkeypatch):
    raise_signal = interrupted(function)
    name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
    original = getattr(threading, name)

    def start(bootstrap, *args, **kwargs):
        monkeypatch.setattr(threading, name, original)
        original(bootstrap, *args, **kwargs)
        until = time.monotonic() + 10
        while bootstrap.__self__ in threading._limbo and time.monotonic() < until:
            time.sleep(0.001)
        raise_signal()  # CPython wants to forget a thread that it does not expect any more: a KeyError

    monkeypatch.setattr(threading, name, start)
    worker = Worker()
    done = []
    with pytest.raises(Late):
        worker.defer(lambda: done.append(1))

    assert worker.drain(30)
    assert done == [1]
    worker.stop()
    assert not guard.failures


def test_worker_whose_thread_died_as_it_started_has_another(dead_start):
    worker = Worker()
    done = []
    with pytest.raises(Late):
        worker.defer(lambda: done.append(1))
    until = time.monotonic() + 10
    while worker._thread.is_alive() and time.monotonic() < until:
        time.sleep(0.01)

    worker.defer(lambda: done.append(2))
    assert worker.drain(30)
    assert done == [1, 2]
    worker.stop()
    assert not guard.failures


def test_watchdog_whose_thread_died_as_it_started_has_another(dead_start):
    with pytest.raises(Late):
        runtime.watchdog.start()
    until = time.monotonic() + 10
    while runtime.watchdog.life.thread.is_alive() and time.monotonic() < until:
        time.sleep(0.01)

    runtime.watchdog.start()
    assert runtime.watchdog.life.thread.is_alive()
    runtime.watchdog.stop(30)
