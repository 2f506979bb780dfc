"""What comes of errors on the way: in the report of a long callback, and in attaching to a loop."""

from __future__ import annotations

import asyncio
import sys
import time
import weakref

import pytest
import uvloop

from tests.conftest import LOOPS
from tests.core.conftest import Timing


class Late(Exception):
    pass


class Refused(Exception):
    pass


@pytest.fixture
def outcomes(timing, monkeypatch):
    """Runs one callback with a report that raises; returns what the loop told of it, and the monitor."""

    def run(kind, callback, error):
        def ended(self, *args):
            if args[1] is callback:
                raise error

        monkeypatch.setattr(timing.monitor_type, "callback_ended", ended)
        told = []
        loop = LOOPS[kind]()
        loop.set_exception_handler(lambda loop, context: told.append(context))
        loop.call_soon(callback)
        loop.call_later(0.05, loop.stop)
        try:
            loop.run_forever()
        finally:
            [monitor] = timing.monitors.values()
            assert (monitor.started, monitor.callback, monitor.context) == (0.0, None, None)
            assert monitor.busy >= 0.02
            loop.close()
        return told

    return run


def stall():
    time.sleep(0.02)


def stall_and_fail():
    time.sleep(0.02)
    raise Late("too late")


def stall_and_leave():
    time.sleep(0.02)
    raise KeyboardInterrupt("bye")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("callback", "error", "told"),
    [
        (stall, Refused(), ["Refused()"]),
        # asyncio has dealt with the first one when the second comes; on uvloop both are one outcome.
        (stall_and_fail, Refused(), ["Refused()"]),
    ],
)
def test_error_of_the_report_is_as_if_the_callback_had_raised_it(outcomes, loop_kind, callback, error, told):
    contexts = outcomes(loop_kind, callback, error)
    if loop_kind == "asyncio" and callback is stall_and_fail:
        told = ["Late('too late')", *told]
    assert [repr(context["exception"]) for context in contexts] == told
    if loop_kind == "uvloop" and callback is stall_and_fail:
        assert repr(contexts[0]["exception"].__context__) == "Late('too late')"
    for context in contexts:
        assert (
            f"Exception in callback {'' if loop_kind == 'asyncio' else '<function '}{callback.__name__}"
            in (context["message"])
        )
        assert callback.__name__ in repr(context["handle"]) or loop_kind == "asyncio"


@pytest.mark.parametrize("callback", [stall, stall_and_fail])
def test_interrupt_in_the_report_goes_up(outcomes, loop_kind, callback):
    with pytest.raises(SystemExit, match="stop"):
        outcomes(loop_kind, callback, SystemExit("stop"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupt_of_the_callback_is_not_replaced_by_an_error_of_the_report(outcomes, loop_kind):
    with pytest.raises(KeyboardInterrupt, match="bye"):
        outcomes(loop_kind, stall_and_leave, Refused())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", LOOPS)
def test_error_in_attaching_changes_nothing(core, kind, monkeypatch):
    def refuse(loop):
        raise Refused

    monkeypatch.setattr(
        asyncio.events.Handle, "_run", core.Run(asyncio.Handle, asyncio.Handle._run, {}, refuse, 2)
    )
    monkeypatch.setattr(uvloop.Loop, "call_soon", core.Scheduler(uvloop.Loop.call_soon, 1, {}, refuse, 1))
    called = []
    loop = LOOPS[kind]()
    loop.call_soon(called.append, 1)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert called == [1]


@pytest.mark.parametrize("found", [None, "a monitor", "that of another loop", "a detached one"])
def test_what_is_no_monitor_of_the_loop_is_not_used(core, loop_kind, found):
    other = LOOPS[loop_kind]()
    detached, wrong = core.Monitor(), core.Monitor()
    wrong.loop = weakref.ref(other)
    answer = {"that of another loop": wrong, "a detached one": detached}.get(found, found)
    loop = LOOPS[loop_kind]()
    called = []
    handle = asyncio.Handle(called.append, (1,), loop)
    core.Run(asyncio.Handle, asyncio.Handle._run, {id(loop): answer}, lambda loop: answer, 2)(handle)
    core.Scheduler(lambda loop, callback: callback(2), 1, {}, lambda loop: answer, 2)(loop, called.append)
    assert called == [1, 2]
    assert wrong.busy == detached.busy == 0.0
    loop.close()
    other.close()


def test_attaching_that_ends_the_timing_ends_it(core, loop_kind):
    loop = LOOPS[loop_kind]()
    monitor = core.Monitor()
    monitor.loop = weakref.ref(loop)

    def attach(loop):
        run.active = scheduler.active = False
        return monitor

    called = []
    run = core.Run(asyncio.Handle, asyncio.Handle._run, {}, attach, 2)
    scheduler = core.Scheduler(lambda loop, callback: callback(2), 1, {}, attach, 1)
    run(asyncio.Handle(called.append, (1,), loop))
    run.active = scheduler.active = True
    scheduler(loop, called.append)
    assert called == [1, 2]
    assert monitor.busy == 0.0
    loop.close()


def test_detached_monitor_times_no_callback_that_waits(timing):
    loop = uvloop.new_event_loop()
    loop.call_soon(time.sleep, 0.02)
    loop.call_soon(loop.stop)
    [monitor] = timing.monitors.values()
    monitor.loop = None
    timing.monitors.clear()
    timing.attach = None
    loop.run_forever()
    loop.close()
    assert (timing.told, monitor.busy) == ([], 0.0)


def test_exception_that_comes_before_the_first_was_dealt_with_keeps_that(native, monkeypatch):
    """The compiled core has the original deal with what a callback raises."""
    timing = Timing(native, monkeypatch)
    first, second = LookupError("first"), Late("second")

    def fail():
        sys.setprofile(interrupt)
        raise first

    def interrupt(frame, event, argument):  # as a signal handler would
        if event == "call" and frame.f_code is timing.original.__code__:
            sys.setprofile(None)
            raise second

    loop = asyncio.new_event_loop()
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
    loop.call_soon(fail)
    try:
        loop.call_later(0.05, loop.stop)
        loop.run_forever()
    except Late as error:
        told.append(error)
    finally:
        sys.setprofile(None)
        loop.close()

    assert told == [second]
    assert second.__context__ is first
