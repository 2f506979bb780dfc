"""Nothing of this package is ever blamed for a block."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import threading
import time
from types import MethodType, SimpleNamespace

import pytest

import otel_loopblock
from otel_loopblock import guard
from otel_loopblock.delayed import aftermath
from otel_loopblock.demo import shop
from otel_loopblock.emit import emitter, span_hooks
from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.block import _from_target
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import Stacks, find
from otel_loopblock.hooks import heartbeat, protocols
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.naming import is_our_callback
from otel_loopblock.testing import detect_blocking
from otel_loopblock.watch import monitor
from otel_loopblock.watch.evidence import Look
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.target import Target
from otel_loopblock.watch.watchdog import Watchdog

PACKAGE = os.path.dirname(otel_loopblock.__file__)


THRESHOLD_MS = 100  # a busy machine keeps nobody from the CPU for so long
LONG_S = 0.3


def stall():
    time.sleep(LONG_S)


class Slow:
    """Stands for a monitor; whoever asks it for its loop is kept waiting."""

    beating = True

    def get_loop(self):
        stall()
        raise LookupError  # caught and counted by whoever asks


# -- callbacks --------------------------------------------------------------------------------------


def test_slow_heartbeat_is_no_block(telemetry, run, monkeypatch):
    beaten = []

    def measured(self, monitor, lag_s):
        stall()
        beaten.append(lag_s)

    monkeypatch.setattr(emitter.Emitter, "lag_measured", measured)
    telemetry.instrument(threshold_ms=THRESHOLD_MS, heartbeat_interval_ms=5)

    run(asyncio.sleep(LONG_S))

    assert beaten
    assert telemetry.spans() == []
    assert telemetry.points("event_loop.block.duration") == []


def test_slow_look_for_victims_is_no_block(telemetry, run, monkeypatch):
    is_over, looked = aftermath.Aftermath._is_over, []

    def look_slowly(self, monitor):
        if not looked:
            stall()
        looked.append(1)
        return is_over(self, monitor)

    monkeypatch.setattr(aftermath.Aftermath, "_is_over", look_slowly)
    telemetry.instrument(threshold_ms=THRESHOLD_MS)

    async def main():
        with telemetry.tracer.start_as_current_span("request"):
            stall()
        await asyncio.sleep(LONG_S)

    run(main())

    assert looked
    assert [name for name, _ in telemetry.events()] == ["request"]
    assert telemetry.spans("event_loop.blocked") == []
    assert sum(point.count for point in telemetry.points("event_loop.block.duration")) == 1


def test_callback_of_ours_that_hangs_is_not_reported_while_it_lasts(telemetry, run):
    telemetry.instrument(threshold_ms=THRESHOLD_MS, hang_after_ms=1.2 * THRESHOLD_MS)

    async def main():
        asyncio.get_running_loop().call_soon(guard.call, "beat", heartbeat._beat, Slow(), 0.0)
        await asyncio.sleep(LONG_S)

    run(main())

    assert telemetry.spans() == []
    assert guard.failures.pop("beat") == 1


def test_callback_of_ours_in_another_thread_is_no_block_when_a_detection_ends(run):
    begun, go_on = threading.Event(), threading.Event()

    class Hangs(Slow):
        def get_loop(self):
            begun.set()
            go_on.wait(30)
            raise LookupError

    async def main():
        asyncio.get_running_loop().call_soon(guard.call, "beat", heartbeat._beat, Hangs(), 0.0)
        await asyncio.sleep(0.01)

    with detect_blocking(threshold_ms=THRESHOLD_MS, raise_on_block=False) as found:
        thread = threading.Thread(target=run, args=(main(),))
        thread.start()
        begun.wait(30)
        stall()
    go_on.set()
    thread.join(30)

    assert guard.failures.pop("beat") == 1
    assert found.blocks == []


@pytest.mark.parametrize(
    ("callback", "ours"),
    [
        (heartbeat._beat, True),
        (functools.partial(functools.partial(heartbeat._beat, None), 0.0), True),
        (MethodType(aftermath.Aftermath._next_turn, object()), True),
        (stall, False),
        (functools.partial(stall), False),
        (json.dumps, False),
        (time.sleep, False),
        (None, False),
        (shop.charge_card, False),
    ],
)
def test_callback_is_told_to_be_ours(callback, ours):
    assert is_our_callback(callback) is ours


def stands_for(function):
    """As the hooks make it."""
    return protocols._make_method(function, Patches())


def test_what_stands_in_the_place_of_a_function_is_not_ours_and_named_by_it():
    for callback in (stands_for(stall), MethodType(stands_for(stall), object())):
        assert not is_our_callback(callback)
        assert _from_target(Target(callback, None))[0].function == "tests.explain.test_never_ourselves.stall"


def test_span_that_takes_long_to_end_is_a_block_also_as_a_callback(telemetry, run, monkeypatch):
    telemetry.instrument(threshold_ms=THRESHOLD_MS)
    monkeypatch.setattr(telemetry.tracer_provider._active_span_processor, "on_end", lambda span: stall())
    span = telemetry.tracer.start_span("slow to end")

    async def main():
        asyncio.get_running_loop().call_soon(span.end)
        await asyncio.sleep(LONG_S)

    run(main())
    monkeypatch.undo()

    assert sum(point.count for point in telemetry.points("event_loop.block.duration")) == 1


def test_attributes_of_a_callback_that_is_an_object_are_not_asked_for():
    class Callback:
        def __getattribute__(self, name):
            raise AssertionError(name)

        def __call__(self):
            pass

    assert not is_our_callback(Callback())


def test_only_the_demonstration_can_be_an_application():
    code, folder = shop.charge_card.__code__, os.path.dirname(shop.__file__)

    assert OwnCode((folder,))(code, shop.__name__)
    assert not OwnCode((PACKAGE,))(heartbeat._beat.__code__, heartbeat.__name__)
    assert not OwnCode()(code, shop.__name__)


# -- stacks -----------------------------------------------------------------------------------------


def raw(function, module=None):
    code = getattr(function, "__code__", function)
    return code, 0, code.co_firstlineno, module or function.__module__


OURS = raw(aftermath.Aftermath._next_turn), raw(monitor.Monitor.callback_ended)
STDLIB = raw(json.dumps)
OWN = raw(stall)
HOOK = raw(span_hooks.install)


def _known(name):
    return KnownCall(name, "") if name == "json.dumps" else None


def placed(frames, call=None, paths=()):
    look = Look(1.0, 1.0, None, 0.0, tuple(frames), call, ())
    return find([look], 0.0, Stacks(OwnCode(paths), _known))


@pytest.mark.parametrize(
    ("frames", "paths", "culprit"),
    [
        ([STDLIB, *OURS], (), "json.dumps"),
        ([STDLIB, *OURS], (PACKAGE,), "json.dumps"),
        ([OWN, *OURS], (PACKAGE,), "tests.explain.test_never_ourselves.stall"),
        ([*OURS], (), None),
        ([*OURS], (PACKAGE,), None),
        ([OWN, *OURS], (), "tests.explain.test_never_ourselves.stall"),
        ([OWN, *OURS], (os.path.dirname(PACKAGE),), "tests.explain.test_never_ourselves.stall"),
        ([HOOK, OWN, HOOK, *OURS, STDLIB], (), "tests.explain.test_never_ourselves.stall"),
    ],
)
def test_culprit_is_never_a_frame_of_ours(frames, paths, culprit):
    found = placed(frames, paths=paths).culprit

    assert (found.function if found is not None else None) == culprit


@pytest.mark.parametrize(
    ("frames", "call", "named"),
    [
        ([OWN, HOOK, *OURS, STDLIB], "time.time_ns", None),
        ([OWN, *OURS], "time.time_ns", None),
        ([OWN, HOOK, STDLIB], None, "json.dumps"),
        ([OWN, STDLIB, HOOK, *OURS], "time.time_ns", "json.dumps"),
        ([OWN, HOOK], "uvloop.Loop.call_soon", "uvloop.Loop.call_soon"),
    ],
)
def test_call_is_never_one_that_we_make(frames, call, named):
    assert placed(frames, call).call.name == named


@pytest.mark.parametrize("runs_callbacks", [False, True])
def test_what_our_own_frame_calls_in_c_is_not_named(runs_callbacks, monkeypatch):
    waiting = threading.Lock()
    waiting.acquire()
    namespace = {"waiting": waiting}
    exec(compile("def work():\n    waiting.acquire()\n", PACKAGE + "/made_up.py", "exec"), namespace)
    work = namespace["work"]
    thread = threading.Thread(target=work)
    thread.start()
    monkeypatch.setattr(loops, "callers", {work.__code__} if runs_callbacks else set())
    watchdog = Watchdog()
    for _ in range(1000):
        if sys._current_frames()[thread.ident].f_code is work.__code__:
            break
        time.sleep(0.01)
    watchdog._see(thread.ident)
    waiting.release()
    thread.join(30)

    seen = watchdog._seen
    assert any(frame[0] is work.__code__ for frame in seen.frames) is not runs_callbacks
    assert seen.call is None


@pytest.mark.parametrize("callback", [heartbeat._beat, functools.partial(heartbeat._beat, None, 0.0)])
def test_block_without_a_stack_is_not_named_after_a_callback_of_ours(callback):
    assert _from_target(Target(callback, None)) == (None, None)


def test_block_without_a_stack_is_not_named_after_a_task_of_ours():
    coroutine = SimpleNamespace(cr_running=True, cr_code=heartbeat._beat.__code__)

    assert _from_target(Target(None, SimpleNamespace(get_coro=lambda: coroutine))) == (None, None)
