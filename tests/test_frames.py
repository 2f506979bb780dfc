"""Frames of other threads: no crash, no trace left in the application."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from otel_loopblock import frames
from otel_loopblock.frames import Looking, local, locals_in

SNAPSHOTS = pytest.mark.skipif(sys.version_info >= (3, 13), reason="f_locals is no snapshot there")


@pytest.fixture
def looking():
    """As on Python 3.11, on all."""
    was_on = gc.isenabled()
    gc.enable()
    yield Looking(collector_off=True)
    (gc.enable if was_on else gc.disable)()


class Thing:
    """Weak references to it can be made."""


# -- no crash ---------------------------------------------------------------------------------------


def test_stacks_taken_while_finalizers_give_up_the_gil_do_not_crash(loop_kind):
    script = Path(__file__).with_name("stack_walk.py")
    ran = subprocess.run(
        [sys.executable, str(script), loop_kind, "4"], capture_output=True, text=True, timeout=120
    )

    assert ran.returncode == 0, ran.stderr
    assert "collector on" in ran.stdout
    assert "look at a stack" not in ran.stdout


def test_collector_is_kept_off_exactly_where_frames_are_made_when_they_are_asked_for():
    with frames.looking:
        on = gc.isenabled()

    assert on is (sys.version_info[:2] != (3, 11))
    assert gc.isenabled()


def test_collector_is_off_within_and_on_after_an_error_too(looking):
    with pytest.raises(LookupError), looking:
        assert not gc.isenabled()
        raise LookupError

    assert gc.isenabled()


def test_collector_that_the_application_has_off_stays_off(looking):
    gc.disable()
    with looking:
        pass

    assert not gc.isenabled()


def test_collector_that_the_application_turned_off_since_the_last_look_stays_off(looking):
    with looking:
        pass
    gc.disable()
    with looking:
        pass

    assert not gc.isenabled()


def test_collector_that_the_application_turns_on_meanwhile_stays_on(looking):
    gc.disable()
    with looking:
        gc.enable()
        with looking:
            assert not gc.isenabled()

    assert gc.isenabled()


def test_collector_is_off_until_the_last_of_several_threads_has_looked(looking):
    inside, go_on = threading.Barrier(3), [threading.Event(), threading.Event()]

    def look(until):
        with looking:
            inside.wait(30)
            until.wait(30)

    threads = [threading.Thread(target=look, args=(until,)) for until in go_on]
    for thread in threads:
        thread.start()
    inside.wait(30)
    for thread, until in zip(threads, go_on, strict=True):
        assert not gc.isenabled()
        until.set()
        thread.join(30)

    assert gc.isenabled()


def test_many_threads_that_look_at_once_leave_the_collector_on(looking):
    seen_on = []

    def look():
        for _ in range(2000):
            with looking:
                if gc.isenabled():
                    seen_on.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    sys.setswitchinterval(interval)

    assert gc.isenabled()
    assert not seen_on


@pytest.mark.parametrize("app_has_it_on", [True, False])
def test_child_forked_while_others_look_has_the_collector_as_the_application_had_it(app_has_it_on):
    code = f"""
import gc, os, threading
from otel_loopblock.frames import Looking
looking = Looking(collector_off=True)
os.register_at_fork(after_in_child=looking.forked)
inside, go_on = threading.Event(), threading.Event()
def look():
    with looking, looking._lock:  # the lock is held when the fork comes
        inside.set()
        go_on.wait(30)
if not {app_has_it_on}:
    gc.disable()
thread = threading.Thread(target=look)
thread.start()
inside.wait(30)
child = os.fork()
if not child:
    ok = gc.isenabled() is {app_has_it_on}
    with looking:
        ok = ok and not gc.isenabled()
    os._exit(0 if ok and gc.isenabled() is {app_has_it_on} else 1)
failed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
go_on.set()
thread.join(30)
os._exit(failed or gc.isenabled() is not {app_has_it_on})
"""
    ran = subprocess.run([sys.executable, "-c", code], timeout=20, env=dict(os.environ))

    assert ran.returncode == 0


def test_child_forked_by_the_thread_that_looks_has_the_collector_on():
    code = """
import gc, os
from otel_loopblock.frames import Looking
looking = Looking(collector_off=True)
os.register_at_fork(after_in_child=looking.forked)
with looking:
    child = os.fork()
if not child:
    with looking:
        pass
    os._exit(not gc.isenabled())
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or not gc.isenabled())
"""
    ran = subprocess.run([sys.executable, "-c", code], timeout=20)

    assert ran.returncode == 0


def test_error_within_keeps_no_frame_of_the_function_that_failed(looking):
    thing = Thing()
    gone = weakref.ref(thing)

    def fail(held):
        raise LookupError

    with pytest.raises(LookupError) as raised, looking:
        fail(thing)
    del thing

    assert raised.value.__traceback__ is not None
    assert gone() is None


def test_watchdog_that_cannot_name_a_call_keeps_the_stack_and_logs_outside(telemetry, run, monkeypatch):
    from otel_loopblock import guard

    inside = []

    def fail(frame):
        raise LookupError("ours")

    def failed(part):
        inside.append(frames.looking._count)
        guard.failures[part] += 1

    monkeypatch.setattr("otel_loopblock.watch.watchdog.called_name", fail)
    monkeypatch.setattr("otel_loopblock.watch.watchdog.guard.failed", failed)
    telemetry.instrument(threshold_ms=100)

    async def main():
        with telemetry.tracer.start_as_current_span("request"):
            time.sleep(0.3)

    run(main())
    [(_, event)] = telemetry.events()

    assert guard.failures.pop("look at a stack") >= 1
    assert set(inside) == {0}
    assert event.attributes["code.function.name"].endswith("main")


# -- local variables --------------------------------------------------------------------------------


class Parked:
    """A thread that runs a function up to its ``wait()``; look at its frame meanwhile."""

    def __init__(self, function):
        self._code, self._reached, self._go_on = function.__code__, threading.Event(), threading.Event()
        self.result = None

        def work():
            self.result = function(self._wait)

        self._thread = threading.Thread(target=work)
        self._thread.start()
        assert self._reached.wait(30)

    def _wait(self):
        self._reached.set()
        self._go_on.wait(30)

    def read(self, name):
        found = locals_in(self._thread.ident, {self._code}, (name,))
        return found[0] if found is not None else None

    def end(self):
        self._go_on.set()
        self._thread.join(30)
        return self.result


def test_local_is_read_in_plain_cell_and_free_variables():
    outer = Thing()

    def work(wait):
        plain, cell = 1, 2

        def inner():
            return cell, outer

        wait()
        return plain, inner

    parked = Parked(work)
    found = [parked.read(name) for name in ("plain", "cell", "outer", "missing")]
    parked.end()

    assert found == [1, 2, outer, None]


def test_local_that_was_read_and_is_deleted_is_not_kept_alive():
    def work(wait):
        big = Thing()
        gone = weakref.ref(big)
        wait()
        del big
        return gone() is None

    parked = Parked(work)
    assert isinstance(parked.read("big"), Thing)

    assert parked.end()


def test_local_is_read_in_a_test_function_with_assertions():
    def work(wait):
        plain = 1
        wait()
        assert plain == 1

    parked = Parked(work)
    found = parked.read("plain")
    parked.end()

    assert "@py_builtins" in work.__code__.co_names
    assert found == 1


@SNAPSHOTS
def test_snapshot_that_the_application_holds_stays_as_it_is():
    def work(wait):
        first = 1
        held = locals()
        held["extra"] = 2
        first = 3
        wait()
        del held["wait"]
        return held, first

    parked = Parked(work)
    assert parked.read("first") is None
    held, _ = parked.end()

    assert held == {"first": 1, "extra": 2}


@SNAPSHOTS
def test_snapshot_that_somebody_else_holds_keeps_its_keys():
    held = []

    def show():
        held.append(sys._getframe(1).f_locals)

    def work(wait):
        first = Thing()
        show()
        wait()
        return first

    parked = Parked(work)
    assert parked.read("first") is None
    first = parked.end()

    assert held[0]["first"] is first


@SNAPSHOTS
def test_what_a_helper_put_into_the_locals_of_its_caller_stays_there():
    def put(name, value):
        sys._getframe(1).f_locals[name] = value

    def get(name):
        return sys._getframe(1).f_locals[name]

    def work(wait):
        first = 1
        put("extra", 2)
        wait()
        return get("extra"), get("first"), first

    parked = Parked(work)
    assert parked.read("first") == 1

    assert parked.end() == (2, 1, 1)


def test_variables_survive_being_read_in_a_thread_that_is_traced():
    code = """
import sys, threading
from otel_loopblock.frames import locals_in
reading, read = threading.Event(), threading.Event()
def trace(frame, event, argument):
    if event == "line" and frame.f_code is work.__code__ and frame.f_locals and not reading.is_set():
        reading.set()
        read.wait(30)
    return trace
def work():
    first = [1]
    second = [2]
    results.append((first, second))
results = []
def run():
    sys.settrace(trace)
    work()
thread = threading.Thread(target=run)
thread.start()
reading.wait(30)
locals_in(thread.ident, {work.__code__}, ("first",))
read.set()
thread.join(30)
assert results == [([1], [2])], results
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)

    assert ran.returncode == 0, ran.stderr


@SNAPSHOTS
def test_namespace_of_a_class_is_not_touched(monkeypatch):
    monkeypatch.setattr(frames, "_FRAME_ONLY", 1000)  # a metaclass may leave it to the frame alone
    outer = 1

    class Body:
        value = outer
        found = local(sys._getframe(), "outer")

    assert (Body.value, Body.found) == (1, None)
    assert not hasattr(Body, "outer")


def test_local_object_that_blocked_and_was_deleted_is_not_kept_alive(telemetry, run):
    telemetry.instrument(threshold_ms=100)
    kept = []

    async def main():
        await asyncio.sleep(0.02)
        big = Thing()
        gone = weakref.ref(big)
        lock = threading.Lock()
        lock.acquire()
        lock.acquire(True, 0.3)
        del big
        kept.append(gone() is not None)

    run(main())
    [span] = telemetry.spans("event_loop.blocked")

    assert span.attributes["event_loop.block.call"] == "threading.Lock.acquire"
    assert kept == [False]
