"""Frames of other threads: no crash, and the application's collector as it was."""

from __future__ import annotations

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
from otel_loopblock.frames import Looking


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

    monkeypatch.setattr("otel_loopblock.watchdog.called_name", fail)
    monkeypatch.setattr("otel_loopblock.watchdog.guard.failed", failed)
    telemetry.instrument(threshold_ms=10)

    async def main():
        with telemetry.tracer.start_as_current_span("request"):
            time.sleep(0.06)

    run(main())
    [(_, event)] = telemetry.events()

    assert guard.failures.pop("look at a stack") >= 1
    assert set(inside) == {0}
    assert event.attributes["code.function.name"].endswith("main")
