"""The replacements time callbacks and change nothing that an application sees."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import inspect
import re
import signal
import time
import traceback
import weakref
from unittest import mock

import pytest
import uvloop

from tests.conftest import LOOPS
from tests.core.conftest import SCHEDULING

variable = contextvars.ContextVar("variable", default="unset")


class Late(Exception):
    pass


def fail():
    raise Late("too late")


def play(loop_kind, callers=frozenset()):
    """What an application sees of callbacks that fail, are cancelled, keep contexts, answer."""
    seen = []

    def handler(loop, context):
        error = context["exception"]
        codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
        lines = [code.co_name for code in codes if code not in callers]
        seen.append((sorted(context), re.sub("0x[0-9a-f]+", "0x", context["message"]), repr(error), lines))

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(handler)
        handle = loop.call_soon(fail)
        # Debug mode says where it was created: on uvloop in a line of the twin.
        seen.append(re.sub(" at .*:", " at :", re.sub(r" created at .*:\d+", "", repr(handle))))
        loop.call_later(0.001, fail)
        loop.call_at(loop.time() + 0.001, seen.append, "called at")
        cancelled = loop.call_soon(seen.append, "cancelled")
        cancelled.cancel()
        context = contextvars.copy_context()
        context.run(variable.set, "set")
        loop.call_soon(lambda: seen.append(variable.get()), context=context)
        own = [None]

        def cancel_itself(*args):
            own[0].cancel()
            del args
            raise Late("cancelled meanwhile")

        own[0] = loop.call_soon(cancel_itself, object())
        if not loop.get_debug():  # else it is refused
            loop.call_soon(None)
        loop.call_soon_threadsafe(seen.append, "threadsafe")
        await asyncio.sleep(0.02)
        try:
            loop.call_soon()
        except TypeError as error:
            seen.append(type(error))
        try:
            loop.add_signal_handler(signal.SIGUSR1, main)
        except TypeError as error:
            seen.append(str(error))
        return "result"

    loop = LOOPS[loop_kind]()
    try:
        seen.append(loop.run_until_complete(main()))
    finally:
        loop.close()
    return sorted(map(repr, seen))  # a timer that is due may come before or after what was called soon


def test_application_sees_the_same(core, loop_kind, monkeypatch, request):
    bare = play(loop_kind)
    request.getfixturevalue("timing")
    # On uvloop a traceback passes through a frame of the twin's.
    assert play(loop_kind, core.CALLERS) == bare
    assert len(bare) >= 10


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_goes_up(timing, loop_kind, kind):
    def leave():
        raise kind("bye")

    loop = LOOPS[loop_kind]()
    loop.call_soon(leave)
    with pytest.raises(kind, match="bye"):
        loop.run_forever()
    loop.close()


def test_callback_over_the_threshold_is_told_with_what_was_called(timing, loop_kind):
    def stall(seconds):
        time.sleep(seconds)

    loop = LOOPS[loop_kind]()
    loop.call_soon(stall, 0.03)
    loop.call_soon(stall, 0.0)
    loop.call_later(0.01, stall, 0.02)
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    [monitor] = timing.monitors.values()

    # One of 0 s is told as well where the machine stood still.
    assert [call for lasted, call, _, _ in timing.told if lasted >= 0.02] == [stall, stall]
    assert 0.05 <= monitor.busy < 1.0
    assert monitor.started == 0.0
    assert monitor.callback is None
    assert monitor.context is None
    loop.close()


def test_callback_that_fails_over_the_threshold_is_told_and_fails(timing, loop_kind):
    def stall():
        time.sleep(0.02)
        fail()

    errors = []
    loop = LOOPS[loop_kind]()
    loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))
    loop.call_soon(stall)
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    loop.close()

    assert [type(error) for error in errors] == [Late]
    assert [call for _, call, _, _ in timing.told] == [stall]


def test_running_callback_can_be_asked_for(timing, loop_kind):
    found = []
    loop = LOOPS[loop_kind]()

    def ask():
        monitor = timing.monitors[id(loop)]
        found.append((monitor.callback, monitor.started > 0.0))

    loop.call_soon(ask)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert found == [(ask, True)]


def test_loop_run_from_within_leaves_no_stretch(timing):
    loop = asyncio.new_event_loop()

    def nest():
        time.sleep(0.02)
        asyncio.Handle(lambda: None, (), loop)._run()  # as nest_asyncio does

    loop.call_soon(nest)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert timing.told == []


def test_mock_is_no_loop(timing):
    called = []
    handle = asyncio.Handle(called.append, (1,), mock.MagicMock())
    with mock.patch.dict(timing.monitors):
        handle._run()
    assert called == [1]


def test_inactive_replacement_only_calls_the_original(timing, loop_kind):
    timing.run.active = False
    for name in SCHEDULING:
        getattr(uvloop.Loop, name).active = False
    loop = LOOPS[loop_kind]()
    loop.call_soon(time.sleep, 0.02)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert timing.told == []
    assert timing.monitors == {}


def test_loop_and_monitor_die_as_without(timing, loop_kind):
    loop = LOOPS[loop_kind]()
    loop.run_until_complete(asyncio.sleep(0))
    gone = weakref.ref(loop)
    assert list(timing.monitors) == [id(loop)]
    loop.close()
    del loop
    gc.collect()
    assert gone() is None
    assert timing.monitors == {}


def test_two_loops_in_turns_have_a_monitor_each(timing, loop_kind):
    loops = [LOOPS[loop_kind]() for _ in range(2)]
    for _ in range(3):
        for loop in loops:
            loop.run_until_complete(asyncio.sleep(0))
    assert sorted(timing.monitors) == sorted(map(id, loops))
    assert all(monitor.busy > 0.0 for monitor in timing.monitors.values())
    for loop in loops:
        loop.close()


@pytest.mark.parametrize("name", ["_run", *SCHEDULING])
def test_replacement_says_of_itself_what_the_original_says(timing, name):
    replacement = vars(asyncio.events.Handle if name == "_run" else uvloop.Loop)[name]
    original = replacement.__wrapped__
    for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
        assert getattr(replacement, attribute) == getattr(original, attribute)
    try:
        expected = inspect.signature(original)
    except ValueError:
        return
    assert inspect.signature(replacement) == expected


def test_keywords_are_taken(timing):
    async def main():
        loop = asyncio.get_running_loop()
        called = []
        loop.call_later(delay=0.001, callback=lambda: called.append("later"))
        loop.call_soon(callback=lambda: called.append("soon"))
        await asyncio.sleep(0.02)
        return called

    assert uvloop.new_event_loop().run_until_complete(main()) in (
        ["soon", "later"],
        ["later", "soon"],  # where the machine stood still
    )


def test_protocol_method_is_timed_unless_a_callback_is(core, timing):
    class Echo:
        def data_received(self, data):
            time.sleep(0.02)
            return data

    Echo.data_received = core.Method(Echo.data_received, timing.monitors, 2)
    echo = Echo()
    loop = asyncio.new_event_loop()
    timing.attach(loop)
    assert echo.data_received(b"x") == b"x"  # no loop runs
    asyncio._set_running_loop(loop)
    try:
        assert echo.data_received(data=b"y") == b"y"
    finally:
        asyncio._set_running_loop(None)
    [(_, call, _, turns)] = timing.told
    assert (call.__self__, turns) == (echo, 2)
    timing.told.clear()
    loop.call_soon(echo.data_received, b"z")
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    [(_, call, _, _)] = timing.told
    assert call.__func__ is vars(Echo)["data_received"]  # the callback, not the method


def test_what_the_report_lets_through_is_the_outcome(core, timing, monkeypatch):
    def interrupted(self, *args):
        raise KeyboardInterrupt

    monkeypatch.setattr(timing.monitor_type, "callback_ended", interrupted)
    loop = asyncio.new_event_loop()
    loop.call_soon(time.sleep, 0.02)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_failing_allocations_leave_the_outcome(core, timing, loop_kind):
    testcapi = pytest.importorskip("_testcapi")
    loop = LOOPS[loop_kind]()
    called = []

    def step():
        called.append(1)

    loop.call_soon(step)
    loop.call_soon(loop.stop)
    loop.run_forever()
    for start in range(0, 40, 3):
        handle = asyncio.Handle(step, (), loop)
        testcapi.set_nomemory(start, start + 1)
        try:
            handle._run()
        except MemoryError:
            pass
        finally:
            testcapi.remove_mem_hooks()
    loop.close()
    assert called


def test_context_of_the_running_callback_is_known(timing):
    context = contextvars.copy_context()
    context.run(variable.set, "set")
    found = []
    loop = asyncio.new_event_loop()

    def ask():
        monitor = timing.monitors[id(loop)]
        found.append((monitor.callback, monitor.context.get(variable)))
        time.sleep(0.02)

    loop.call_soon(ask, context=context)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    [(told_context, turns)] = [each[2:] for each in timing.told if each[1] is ask]
    assert found == [(ask, "set")]
    assert told_context is context
    assert turns == 2


def test_long_callback_that_cancels_its_handle_is_told(timing, loop_kind):
    loop = LOOPS[loop_kind]()
    own = []

    def stall():
        own[0].cancel()
        time.sleep(0.02)

    own.append(loop.call_soon(stall))
    loop.call_later(0.03, loop.stop)
    loop.run_forever()
    loop.close()
    assert [call for _, call, _, _ in timing.told] == [stall]


def test_loop_run_within_a_callback_leaves_no_stretch(timing, loop_kind):
    outer, inner = LOOPS[loop_kind](), []

    def nest():
        time.sleep(0.02)
        monitor = timing.monitors[id(outer)]
        inner.append(monitor.started)
        monitor.started = 0.0  # what an inner run of the same loop leaves behind

    outer.call_soon(nest)
    outer.call_later(0.03, outer.stop)
    outer.run_forever()
    outer.close()
    assert inner[0] > 0.0
    assert [call for _, call, _, _ in timing.told if call is nest] == []


class Callback:
    """Something to call with attributes of its own."""

    marks = ("a", "b")

    def __call__(self):
        return "called"

    def __repr__(self):
        return "the user's own"


def test_call_answers_as_the_callback(core, timing):
    passed = []
    scheduler = core.Scheduler(lambda loop, callback: passed.append(callback), 1, {}, timing.attach, 1)
    loop, callback = uvloop.new_event_loop(), Callback()
    scheduler(loop, callback)
    scheduler(loop, passed[0])  # it is not wrapped again
    scheduler(loop, callback=callback)
    call, again, by_keyword = passed
    assert again is call
    assert type(by_keyword) is type(call) is not Callback
    assert (repr(call), str(call), call.marks) == ("the user's own", "the user's own", ("a", "b"))
    assert isinstance(call, Callback)
    assert call == callback == by_keyword
    assert call != "something else"
    assert hash(call) == hash(callback)
    assert call() == "called"
    assert core.unwrap(call) is callback
    assert core.unwrap(callback) is callback
    with pytest.raises(AttributeError, match="nothing"):
        _ = call.nothing
    loop.close()


def test_call_of_a_coroutine_function_is_one(core, timing):
    async def coroutine_function():
        pass

    passed = []
    scheduler = core.Scheduler(lambda loop, callback: passed.append(callback), 1, {}, timing.attach, 1)
    loop = uvloop.new_event_loop()
    scheduler(loop, coroutine_function)
    scheduler(loop, timing.attach)
    loop.close()
    assert [inspect.iscoroutinefunction(call) for call in passed] == [True, False]


@pytest.mark.parametrize("wrong", ["original", "attach", "position"])
def test_replacement_refuses_what_it_cannot_use(core, wrong):
    arguments = {"original": print, "position": 1, "monitors": {}, "attach": None, "turns": 1}
    arguments[wrong] = 0 if wrong == "position" else "a word"
    with pytest.raises((TypeError, ValueError), match=wrong if wrong != "original" else "cannot be called"):
        core.Scheduler(**arguments)


def test_traceback_that_is_kept_does_not_keep_the_callback(timing, loop_kind):
    class Big:
        pass

    def use(*args):
        del args
        try:
            raise Late
        except Late as error:
            kept.append(error)  # its frame knows the frames around it

    kept = []
    loop = LOOPS[loop_kind]()
    big = Big()
    gone = weakref.ref(big)
    loop.call_soon(functools.partial(use, big))
    loop.call_soon(use, big)
    del big
    loop.call_soon(loop.stop)
    loop.run_forever()
    gc.collect()
    assert len(kept) == 2
    assert gone() is None
    loop.close()
