"""Each path of the compiled core, with each of its allocations failing in turn.

To be run in a process of its own, which may crash: ``python -m tests.core.failing CASE``.

A case is a function that returns another one, which does the thing and says whether it was done. That is
called with the first allocation failing, the second, and so on until none does, and must do it or raise
MemoryError: once with all failing from there on, once with that one alone.
"""

from __future__ import annotations

import _testcapi
import asyncio
import contextvars
import gc
import importlib.util
import os
import sys
import threading
import time
import weakref

from otel_loopblock.core import _native as core

LIMIT = 20_000
"""Allocations of no case are that many."""

LONG = 0.0
"""A threshold that every callback is over."""


has_frame = sys._getframe
"""Called first by a Python function whose callee may raise.

CPython 3.11 to 3.13 makes the caller's frame object when an exception leaves a frame, and drops the exception
where there is no memory for one."""


class Late(Exception):
    pass


EXPECTED = (MemoryError, Late)


class Loop:
    """As much of a loop as the core needs."""

    def __init__(self):
        self.scheduled = []
        self.told = []

    def call_soon(self, callback, *args, context=None):
        self.scheduled.append((callback, args))
        return callback


class Handle:
    """As much of asyncio's as the core needs.

    What that one does with an exception crashes CPython 3.12 where there is no memory: it makes a function.
    """

    __slots__ = ("_args", "_callback", "_context", "_loop")

    def __init__(self, callback, args, loop):
        self._callback, self._args, self._loop = callback, args, loop
        self._context = contextvars.copy_context()

    def _run(self):
        has_frame()
        try:
            self._context.run(self._callback)
        except Exception as error:
            self._loop.told.append(type(error))


class Monitor(core.Monitor):
    __slots__ = ("__weakref__", "ended")

    def __init__(self, loop, threshold):
        self.loop = weakref.ref(loop)
        self.threshold = threshold
        self.waiter = core.Waiter()
        self.ended = []

    def callback_ended(self, ended, callback, context, turns):
        self.ended.append((ended, callback, context, turns))


class Raising(Monitor):
    __slots__ = ()

    def callback_ended(self, ended, callback, context, turns):
        raise Late


class House:
    """A loop whose callbacks are timed, whose class is not asyncio's."""

    def __init__(self, threshold=1e9, monitor=Monitor):
        self.loop, self.monitors, self.called = Loop(), {}, []
        self.make = lambda loop: self.monitors.setdefault(id(loop), monitor(loop, threshold))

    def step(self, *args, **kwargs):
        self.called.append(args)

    def fails(self):
        raise Late

    def run(self):
        return core.Run(Handle, Handle._run, self.monitors, self.make, 1)

    def scheduler(self):
        return core.Scheduler(Loop.call_soon, 1, self.monitors, self.make, 1)

    def method(self):
        return core.Method(House.step, self.monitors, 1)


# -- cases: each returns what is called with allocations failing


def module():
    spec = core.__spec__
    # Before: importlib of 3.12 does not come back where it has no memory.
    ready = [importlib.util.module_from_spec(spec) for _ in range(2000)]

    def call():
        has_frame()
        loaded = ready.pop()
        spec.loader.exec_module(loaded)
        return loaded.Monitor().started == 0.0

    return call


def types():
    house = House()
    return lambda: all(
        (has_frame(), core.Monitor(), core.Waiter(), house.run(), house.scheduler(), house.method())
    )


def attaching():
    house = House()
    run = house.run()
    handle = Handle(house.step, (), house.loop)

    def call():
        has_frame()
        house.monitors.clear()
        run.active = False  # forgets the monitor found last
        run.active = True
        house.called.clear()
        run(handle)
        return house.called == [()]

    return call


def handle_of(callback, threshold, monitor=Monitor):
    house = House(threshold, monitor)
    run = house.run()
    handle = Handle(getattr(house, callback), (), house.loop)
    run(handle)
    return house, lambda: (has_frame(), run(handle))


def callback():
    house, run = handle_of("step", 1e9)

    def call():
        has_frame()
        house.called.clear()
        run()
        return house.called == [()]

    return call


def callback_over_the_threshold():
    house, run = handle_of("step", LONG)
    [monitor] = house.monitors.values()

    def call():
        has_frame()
        house.called.clear()
        monitor.ended.clear()
        run()
        return house.called == [()] and len(monitor.ended) == 1

    return call


def callback_that_raises(monitor=Monitor, threshold=1e9, times=1):
    house, run = handle_of("fails", threshold, monitor)

    def call():
        has_frame()
        house.loop.told.clear()
        run()
        return house.loop.told == [Late] * times

    return call


def callback_that_raises_over_the_threshold():
    return callback_that_raises(Monitor, LONG)


def report_that_raises():
    house, run = handle_of("step", LONG, Raising)

    def call():
        has_frame()
        house.loop.told.clear()
        run()
        return house.loop.told == [Late]

    return call


def both_raise():
    return callback_that_raises(Raising, LONG, times=2)


def scheduling():
    house = House()
    scheduler = house.scheduler()

    def call():
        has_frame()
        house.loop.scheduled.clear()
        house.called.clear()
        for _ in range(40):  # more than it has spares for
            scheduler(house.loop, house.step, 1)
        scheduler(house.loop, callback=house.step)
        scheduler(house.loop, house.step, *range(20))  # more arguments than fit on the stack
        kept, house.loop.scheduled = house.loop.scheduled, []
        for scheduled, args in kept:
            scheduled(*args)
        return len(house.called) == 42

    return call


def scheduled_over_the_threshold():
    house = House(LONG)
    house.scheduler()(house.loop, house.step)
    [monitor] = house.monitors.values()
    [(scheduled, _)] = house.loop.scheduled

    def call():
        has_frame()
        monitor.ended.clear()
        scheduled(1)
        return len(monitor.ended) == 1

    return call


def scheduled_that_raises():
    house = House(LONG)
    house.scheduler()(house.loop, house.fails)
    [(scheduled, _)] = house.loop.scheduled

    def call():
        has_frame()
        try:
            scheduled()
        except Late:
            return True
        return False

    return call


def scheduling_on_uvloop():
    import uvloop

    house, loop = House(), uvloop.new_event_loop()
    original = uvloop.Loop.call_soon
    scheduler = core.Scheduler(original, 1, house.monitors, house.make, 1)

    def call():
        has_frame()
        handle = scheduler(loop, house.step)
        handle.cancel()
        return True

    return call


def asking_a_scheduled_callback():
    house = House()
    house.scheduler()(house.loop, house.step)
    [(scheduled, _)] = house.loop.scheduled

    def call():
        has_frame()
        known = core.unwrap(scheduled) == house.step and core.unwrap(call) is call
        said = repr(scheduled) == str(scheduled) == repr(house.step)
        return known and said and hash(scheduled) == hash(house.step) and scheduled == house.step

    return call


def method():
    house = House(LONG)
    method = house.method()
    monitor = house.make(house.loop)

    def call():
        has_frame()
        monitor.ended.clear()
        asyncio._set_running_loop(house.loop)
        try:
            method(house, 1, key=2)
        finally:
            asyncio._set_running_loop(None)
        return len(monitor.ended) == 1

    return call


def asking_a_replacement():
    house = House()
    run, method = house.run(), house.method()

    def call():
        has_frame()
        run.active = True
        run.mark = 1
        bound = method.__get__(house)
        named = run.__name__ == "_run" and run.__wrapped__ is not None and method.__reduce__() == "House.step"
        return named and repr(run) == repr(Handle._run) and bound is not None and run.mark == 1

    return call


def asking_a_monitor():
    house = House()
    monitor, clock = house.make(house.loop), core.thread_clock()

    def call():
        has_frame()
        monitor.clock, monitor.waiter, monitor.loop = clock, monitor.waiter, monitor.loop
        monitor.started = monitor.started + 0.0
        monitor.looked_at, monitor.look_due = 1.0, 2.0
        values = (monitor.busy, monitor.threshold, monitor.before_at, monitor.woke_cpu, monitor.callback)
        return monitor.clock == clock and monitor.context is None and len(values) == 5

    return call


def wait():
    house = House()
    monitor = house.make(house.loop)
    waiter = core.Waiter()

    def call():
        has_frame()
        monitor.started = 0.0
        waiter.wake()
        why, *_ = waiter.wait((monitor,), 0.0001, 0.001)
        monitor.started = time.perf_counter() - 1.0
        long, *_ = waiter.wait((monitor,), 0.0001, 0.001)
        waiter.refresh()
        waiter.queued()
        return (why, long) == (core.WOKEN, core.LONG_CALLBACK)

    return call


def stack():
    standing, go_on = threading.Event(), threading.Event()

    def deep(left):
        if left:
            deep(left - 1)
        else:
            standing.set()
            go_on.wait()

    thread = threading.Thread(target=deep, args=(20,), daemon=True)
    thread.start()
    standing.wait()
    id, here = thread.ident, threading.get_native_id()

    def call():
        has_frame()
        found = core.stack(id, 100)
        core.scheduling(here)
        ids, clock = core.threads(), core.thread_clock()
        return found is not None and len(found) > 20 and id in ids and clock is not None

    return call


def variable():
    reading, writing = os.pipe()

    def stand(number):
        local = number
        while local:
            os.read(reading, 1)

    thread = threading.Thread(target=stand, args=(7,), daemon=True)
    thread.start()
    os.write(writing, b"x")
    while not (found := core.stack(thread.ident, 1)) or found[0][0] is not stand.__code__:
        time.sleep(0.01)
    time.sleep(0.1)
    [(code, instruction, _, _)] = core.stack(thread.ident, 1)

    def call():
        has_frame()
        there = core.variable(thread.ident, code, instruction, "local")
        return there == (7,) and core.variable(thread.ident, code, instruction, "none") is None

    return call


CASES = {
    case.__name__: case
    for case in (
        module,
        types,
        attaching,
        callback,
        callback_over_the_threshold,
        callback_that_raises,
        callback_that_raises_over_the_threshold,
        report_that_raises,
        both_raise,
        scheduling,
        scheduled_over_the_threshold,
        scheduled_that_raises,
        scheduling_on_uvloop,
        asking_a_scheduled_callback,
        method,
        asking_a_replacement,
        asking_a_monitor,
        wait,
        stack,
        variable,
    )
}


def allocates() -> bool:
    """Whether there is memory: asks for some."""
    try:
        bytearray(64)
    except MemoryError:
        return False
    return True


def trial(call, start: int, stop: int) -> bool:
    """Call it with allocations failing from number ``start`` until before ``stop``; 0: for ever.

    Returns:
        Whether there was memory left.
    """
    left = False
    has_frame()
    _testcapi.set_nomemory(start, stop)
    try:
        call()
        left = allocates()
    except EXPECTED:
        pass
    finally:
        _testcapi.remove_mem_hooks()
    return left


def main(case: str) -> None:
    call = CASES[case]()
    assert call(), "before"
    count = next((start for start in range(LIMIT) if trial(call, start, 0)), None)
    assert count is not None, "no end"
    for start in range(count + 1):
        trial(call, start, start + 1)
    gc.collect()
    assert call(), "afterwards"
    print(count)


if __name__ == "__main__":
    main(sys.argv[1])
