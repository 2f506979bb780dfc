"""A loop's callbacks, told by the switches of its thread's context: from Python 3.14 on, in C."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import random
import subprocess
import sys
import threading
import time
import weakref
from contextvars import Context, ContextVar, copy_context

import pytest

from otel_loopblock.core import pure

SINCE = (3, 14)
variable = ContextVar("variable", default=None)

needs_watchers = pytest.mark.skipif(
    sys.version_info < SINCE, reason="no interpreter before 3.14 tells of switches"
)


class Loop:
    """Runs callbacks as a loop does that nothing hooks: in a context, without a handle."""

    def run(self, function, *args, context=None):
        asyncio._set_running_loop(self)
        try:
            return (copy_context() if context is None else context).run(function, *args)
        finally:
            asyncio._set_running_loop(None)


class Watched:
    def __init__(self, native):
        self.told = told = []

        class Monitor(native.Monitor):
            __slots__ = ("__weakref__",)

            def callback_ended(self, ended, callback, context, turns):
                told.append((ended - self.started, callback, context, turns))

        self.loop = Loop()
        self.own = Context()
        self.monitor = Monitor()
        self.monitor.threshold = 0.01
        self.monitor.loop = weakref.ref(self.loop)
        self.watch = native.ContextWatch(self.monitor, self.own)

    def probe(self):
        return self.loop.run(self.watch.enter, context=self.own)


@pytest.fixture(autouse=True)
def nothing_left():
    """Loops of tests before may watch until they are collected."""
    gc.collect()


@pytest.fixture
def watched(native):
    found = Watched(native)
    yield found
    found.watch.close()


def watchers():
    """How many places the interpreter has for more watchers of ours."""
    add, clear = ctypes.pythonapi.PyContext_AddWatcher, ctypes.pythonapi.PyContext_ClearWatcher
    add.argtypes = [ctypes.c_void_p]
    taken = []
    try:
        while True:
            taken.append(add(ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p)))
    except RuntimeError:
        return len(taken)
    finally:
        for each in taken:
            clear(each)


def test_neither_the_twin_nor_an_older_python_has_one(native):
    assert pure.ContextWatch is None
    assert (native.ContextWatch is None) is (sys.version_info < SINCE)


@needs_watchers
def test_block_is_told_with_its_length_and_its_context(watched):
    context = Context()
    assert watched.probe() is True

    watched.loop.run(time.sleep, 0.05, context=context)

    ((duration, callback, found, turns),) = watched.told
    assert 0.05 <= duration < 0.5
    assert (callback, found, turns) == (None, context, 0)
    assert watched.monitor.started == 0.0
    assert watched.monitor.context is None
    assert watched.monitor.busy == pytest.approx(duration, abs=0.01)
    assert watched.watch.ended > 0.0


@needs_watchers
def test_running_callback_can_be_seen(watched):
    context, seen = Context(), []
    watched.probe()

    watched.loop.run(lambda: seen.extend((watched.monitor.started, watched.monitor.context)), context=context)

    assert 0.0 < seen[0] <= time.perf_counter()
    assert seen[1] is context


@needs_watchers
def test_a_context_that_a_callback_enters_is_no_callback(watched):
    def callback():
        for _ in range(3):
            Context().run(lambda: copy_context().run(time.sleep, 0.006))

    watched.probe()
    watched.loop.run(callback)

    ((duration, *_),) = watched.told
    assert duration >= 0.018


@needs_watchers
def test_a_short_callback_is_counted_and_not_told(watched):
    watched.probe()
    for _ in range(100):
        watched.loop.run(int)

    assert watched.told == []
    assert 0.0 < watched.monitor.busy < 0.5


@needs_watchers
def test_other_threads_are_left_alone(watched):
    watched.probe()
    thread = threading.Thread(target=lambda: Context().run(time.sleep, 0.03))
    thread.start()
    thread.join()

    assert watched.told == []
    assert watched.monitor.busy == 0.0


@needs_watchers
def test_what_runs_while_the_loop_does_not_is_not_told(watched):
    watched.probe()
    Context().run(time.sleep, 0.03)

    assert watched.told == []


@needs_watchers
def test_loop_that_runs_us_in_another_context_is_not_watched(watched):
    assert watched.loop.run(watched.watch.enter) is False
    watched.loop.run(time.sleep, 0.03)

    assert watched.told == []


@needs_watchers
def test_loop_that_runs_us_within_a_context_that_was_entered_is_not_watched(watched):
    def turn():  # as uvloop's: this one is left before the loop is idle
        watched.probe()
        watched.loop.run(time.sleep, 0.02)

    watched.probe()
    context = Context()
    for _ in range(3):
        context.run(turn)
        asyncio._set_running_loop(watched.loop)
        time.sleep(0.03)
        asyncio._set_running_loop(None)
    assert watched.told == []

    watched.probe()
    watched.loop.run(time.sleep, 0.02)
    assert len(watched.told) == 1


@needs_watchers
def test_thread_that_had_no_context_yet_is_watched(watched):
    def elsewhere():
        watched.probe()
        watched.loop.run(time.sleep, 0.02, context=Context())

    thread = threading.Thread(target=elsewhere, context=None)
    thread.start()
    thread.join()

    assert len(watched.told) == 1


@needs_watchers
def test_loop_that_goes_to_another_thread_is_followed(watched):
    watched.probe()

    def elsewhere():
        assert watched.probe() is True
        watched.loop.run(time.sleep, 0.02)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    watched.loop.run(time.sleep, 0.02)  # here it has not told that it runs here again

    assert len(watched.told) == 1


@needs_watchers
def test_what_the_probe_has_found_ends_with_the_next_callback(watched):
    watched.probe()
    watched.monitor.started = time.perf_counter() - 0.04

    watched.loop.run(int)

    ((duration, _, context, _),) = watched.told
    assert 0.04 <= duration < 0.5
    assert context is watched.own  # of nobody's request


@needs_watchers
def test_error_of_a_callback_passes(watched):
    def fail():
        time.sleep(0.02)
        raise ZeroDivisionError

    watched.probe()
    with pytest.raises(ZeroDivisionError):
        watched.loop.run(fail)

    assert len(watched.told) == 1


@needs_watchers
def test_what_a_signal_handler_raises_in_the_report_is_raised_a_moment_later(native, watched):
    class Monitor(native.Monitor):
        __slots__ = ("__weakref__",)

        def callback_ended(self, *args):
            raise KeyboardInterrupt

    monitor = Monitor()
    monitor.loop, monitor.threshold = weakref.ref(watched.loop), 0.01
    watch = native.ContextWatch(monitor, watched.own)
    watched.loop.run(watch.enter, context=watched.own)

    with pytest.raises(KeyboardInterrupt):
        watched.loop.run(time.sleep, 0.02)
        for _ in range(1000):
            pass
    assert monitor.started == 0.0
    watch.close()


@needs_watchers
def test_switches_of_the_report_are_no_callbacks(native, watched):
    class Monitor(native.Monitor):
        __slots__ = ("__weakref__", "reports")

        def callback_ended(self, *args):
            self.reports += 1
            Context().run(time.sleep, 0.02)

    monitor = Monitor()
    monitor.loop, monitor.threshold, monitor.reports = weakref.ref(watched.loop), 0.01, 0
    watch = native.ContextWatch(monitor, watched.own)
    watched.loop.run(watch.enter, context=watched.own)
    watched.loop.run(time.sleep, 0.02)
    watched.loop.run(int)

    assert monitor.reports == 1
    watch.close()


@needs_watchers
def test_report_may_end_the_watching(native, watched):
    class Monitor(native.Monitor):
        __slots__ = ("__weakref__",)

        def callback_ended(self, *args):
            watches.pop().close()
            self.loop = None

    monitor = Monitor()
    monitor.loop, monitor.threshold = weakref.ref(watched.loop), 0.01
    watches = [native.ContextWatch(monitor, watched.own)]
    watched.loop.run(watches[0].enter, context=watched.own)
    watched.watch.close()
    watched.loop.run(time.sleep, 0.02)

    assert watches == []
    assert watchers() == 8


@needs_watchers
def test_interpreter_tells_only_while_somebody_watches(native, watched):
    assert watchers() == 7
    second = native.ContextWatch(watched.monitor, Context())
    watched.watch.close()
    watched.watch.close()
    assert watchers() == 7
    del second
    assert watchers() == 8


@needs_watchers
def test_closed_watch_tells_nothing_and_takes_no_thread(watched):
    watched.probe()
    watched.watch.close()
    watched.loop.run(time.sleep, 0.02)

    assert watched.told == []
    assert watched.probe() is False


@needs_watchers
def test_detached_monitor_is_told_nothing(watched):
    watched.probe()
    watched.monitor.loop = None
    watched.loop.run(time.sleep, 0.02)

    assert watched.told == []


@needs_watchers
def test_there_are_seats_for_64_and_one_becomes_free(native, watched):
    watches = []
    for _ in range(70):
        own = Context()
        watches.append((native.ContextWatch(watched.monitor, own), own))
    found = [own.run(watch.enter) for watch, own in watches]
    assert found == [True] * 64 + [False] * 6

    watches[0][0].close()
    watch, own = watches[-1]
    assert own.run(watch.enter) is True
    for watch, _ in watches:
        watch.close()


@needs_watchers
def test_nothing_is_kept(native, watched):
    class Value:
        pass

    context = Context()
    context.run(variable.set, Value())
    alive = weakref.ref(context[variable])
    watched.probe()
    before = sys.getrefcount(context), sys.getrefcount(watched.monitor), sys.getrefcount(watched.watch)
    for _ in range(1000):
        watched.loop.run(int, context=context)
    assert (
        sys.getrefcount(context),
        sys.getrefcount(watched.monitor),
        sys.getrefcount(watched.watch),
    ) == before

    del context
    assert alive() is None


@needs_watchers
def test_watch_that_is_part_of_a_cycle_is_collected(native):
    found = Watched(native)
    found.probe()
    found.own.run(variable.set, found)
    alive = weakref.ref(found.monitor)
    del found
    gc.collect()

    assert alive() is None
    assert watchers() == 8


@needs_watchers
def test_loops_of_many_threads_come_and_go(native):
    class Monitor(native.Monitor):
        __slots__ = ("__weakref__",)

        def callback_ended(self, *args):
            Context().run(int)

    def work(seed):
        chance = random.Random(seed)
        for _ in range(50):
            loop, own = Loop(), Context()
            monitor = Monitor()  # told of every callback
            monitor.loop = weakref.ref(loop)
            watch = native.ContextWatch(monitor, own)
            for _ in range(20):
                loop.run(watch.enter, context=own)
                loop.run(lambda: Context().run(gc.collect if chance.random() < 0.02 else int))
                if chance.random() < 0.02:
                    watch.close()
                if chance.random() < 0.02:
                    monitor.loop = None
            own.run(variable.set, (watch, monitor, loop))
            if chance.random() < 0.5:
                loop.run(watch.close)
        done.append(seed)

    done = []
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()

    assert sorted(done) == [0, 1, 2, 3]
    assert watchers() == 8


@needs_watchers
def test_sub_interpreter_has_none(built):
    program = """
import _interpreters
made = _interpreters.create("legacy")
print(_interpreters.exec(made, '''if True:
    from contextvars import Context
    from otel_loopblock import core
    if core.NAME == "native":
        try:
            core.ContextWatch(core.Monitor(), Context())
        except RuntimeError as error:
            assert "sub-interpreter" in str(error)
        else:
            raise AssertionError
'''))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("None\n", 0), done.stderr


@needs_watchers
@pytest.mark.parametrize(
    ("wrong", "error"), [((1, Context()), TypeError), ((None,), TypeError), ((None, None), TypeError)]
)
def test_wrong_call_says_so(native, wrong, error):
    arguments = (native.Monitor(), *wrong[1:]) if wrong[0] is None else wrong
    with pytest.raises(error):
        native.ContextWatch(*arguments)
