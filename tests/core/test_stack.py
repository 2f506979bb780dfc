"""The walk over another thread's stack, and its variables, without a frame object left over."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time

import pytest


class Standing:
    """A thread that stands still in ``wait``, below a few frames."""

    def __init__(self, function):
        self.here, self.go_on = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=function, args=(self,))
        self.thread.start()
        assert self.here.wait(10)
        time.sleep(0.01)

    def wait(self):
        self.here.set()
        self.go_on.wait(30)

    def __enter__(self):
        return self.thread.ident

    def __exit__(self, *error):
        self.go_on.set()
        self.thread.join()


def outer(standing):
    deep(standing, 5)


def deep(standing, left):
    if left:
        deep(standing, left - 1)
    else:
        next(generator(standing))


def generator(standing):
    cell = 7

    def inner():
        local = "here"
        standing.wait()
        return cell, local

    yield inner()


def test_stack_is_what_python_says(core):
    with Standing(outer) as thread_id:
        found = core.stack(thread_id, 100)
        expected, frame = [], sys._current_frames()[thread_id]
        while frame is not None:
            expected.append((frame.f_code, frame.f_lasti, frame.f_lineno, frame.f_globals["__name__"]))
            frame = frame.f_back
        assert list(found) == expected
        assert core.stack(thread_id, 3) == found[:3]


def test_thread_that_is_not_there_has_no_stack(core):
    assert core.stack(2**40 + 1, 10) is None
    assert core.variable(2**40 + 1, outer.__code__, 0, "x") is None


@pytest.mark.parametrize(("name", "value"), [("local", "here"), ("cell", 7), ("nothing", None)])
def test_variable_of_the_innermost_frame(core, name, value):
    ready, go_on = os.pipe(), threading.Event()
    read, write = ready
    cell = 7

    def stand():
        local = "here"
        os.read(read, 1)  # the innermost frame is this one
        return cell, local

    thread = threading.Thread(target=stand)
    thread.start()
    time.sleep(0.05)
    try:
        code, instruction, _, _ = core.stack(thread.ident, 1)[0]
        assert code is stand.__code__
        found = core.variable(thread.ident, code, instruction, name)
        assert found == (None if value is None else (value,))
        assert core.variable(thread.ident, code, instruction + 2, name) is None  # it is not there any more
        assert core.variable(thread.ident, outer.__code__, instruction, name) is None
    finally:
        os.write(write, b"x")
        thread.join()
        os.close(read)
        os.close(write)
        go_on.set()


class Dies:
    """Its finalizer gives up the GIL, as closing a file does."""

    def __init__(self):
        self.me = self

    def __del__(self):
        time.sleep(0)


def test_stacks_are_walked_while_the_collector_runs(core):
    def down(left):
        if left:
            down(left - 1)
        else:
            time.sleep(0.0005)

    walks, over, main = [0], threading.Event(), threading.get_ident()

    def walk():
        while not over.is_set():
            code, instruction, _, _ = core.stack(main, 200)[0]
            core.variable(main, code, instruction, "left")
            walks[0] += 1

    before, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(60, 5, 5)
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=walk)
    thread.start()
    try:
        began = time.perf_counter()
        # Two seconds; a sanitizer, or a machine with much else to do, needs longer for some walks.
        while (took_s := time.perf_counter() - began) < 2 or (walks[0] <= 3 and took_s < 60):
            [Dies() for _ in range(20)]
            down(60)
    finally:
        over.set()
        thread.join()
        gc.set_threshold(*before)
        sys.setswitchinterval(interval)
    assert walks[0] > 3
    assert gc.isenabled()


def test_clocks(core):
    clock = core.thread_clock()
    if clock is None:
        pytest.skip("no CPU clock of threads on this platform")
    assert abs(time.clock_gettime(clock) - time.thread_time()) < 0.05
    scheduling = core.scheduling(threading.get_native_id())
    if sys.platform == "linux" and scheduling is not None:
        queued_s, runs = scheduling
        assert queued_s >= 0.0
        assert runs >= 1
    assert core.scheduling(2**31) is None
