"""uvloop: its handles are C and never call ``Handle._run``; attributes set on ``uvloop.Loop`` are honoured.

Each scheduling method passes the loop's runner in the place of the callback and the callback as its
first argument: no object is made per call. Transports call their protocols straight from libuv, without
a handle; :mod:`~otel_loopblock.hooks.protocols` takes care of those.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import signal
import threading
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from otel_loopblock import guard
from otel_loopblock.hooks import heartbeat, protocols
from otel_loopblock.watch.monitor import ATTRIBUTE, Monitor

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches
    from otel_loopblock.runtime import Registry

RUN = "_loopblock_run"
"""Where a loop carries its runner of callbacks from its queue."""
RUN_DIRECT = "_loopblock_run_direct"
"""Where a loop carries its runner of timers, readers and writers, which libuv calls directly."""
LOOP_ATTRIBUTES = (RUN, RUN_DIRECT)

# Turns until what came during a callback has woken its tasks. In a turn the loop first runs its queue, then
# receives, then runs timers: after a callback from the queue it is received in the same turn.
TURNS = 1
TURNS_DIRECT = 2


def install(patches: Patches, registry: Registry, uvloop: Any) -> None:
    """Hook ``uvloop.Loop``.

    Args:
        patches: undo it.
        registry: gives loops their monitors.
        uvloop: the module.
    """

    def attach(loop: Any) -> Callable[..., Any]:
        try:
            return _attach(loop, registry)
        except Exception:
            guard.failed("attach to a uvloop loop")
            return _call

    def attach_direct(loop: Any) -> Callable[..., Any]:
        attach(loop)
        run: Callable[..., Any] = getattr(loop, RUN_DIRECT, _call)
        return run

    for name, make, attaching in (
        ("call_soon", _make_call_soon, attach),
        ("call_soon_threadsafe", _make_call_soon, attach),
        ("call_later", _make_call_later, attach_direct),
        ("call_at", _make_call_at, attach_direct),
        ("add_reader", _make_add_reader, attach_direct),
        ("add_writer", _make_add_reader, attach_direct),
        ("add_signal_handler", _make_add_signal_handler, attach_direct),
    ):
        patches.replace(uvloop.Loop, name, functools.partial(make, attach=attaching, patches=patches))
    protocols.install(patches, registry, uvloop.Loop)


def is_hooked(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether ``loop`` is one whose scheduling methods are ours."""
    patches: Patches | None = getattr(type(loop).call_soon, RUN, None)
    return patches is not None and patches.active


def cover(loop: asyncio.AbstractEventLoop, registry: Registry) -> None:
    """Give a running loop its monitor; callbacks scheduled from now on are timed."""
    if getattr(loop, ATTRIBUTE, None) is None:
        _attach(loop, registry)


def _call(callback: Callable[..., Any], *args: Any) -> Any:
    """The runner of a loop that could not be given a monitor."""
    try:
        return callback(*args)
    finally:
        del callback, args


def _attach(loop: Any, registry: Registry) -> Callable[..., Any]:
    # One that runs may do so on another thread.
    if not loop.is_running() and registry.succeed(loop, perf_counter()):
        run: Callable[..., Any] = getattr(loop, RUN)
        return run
    monitor = registry.attach(loop, "uvloop")
    if monitor is None:
        return _call
    return _begin(loop, monitor, registry)


def _begin(loop: Any, monitor: Monitor, registry: Registry) -> Callable[..., Any]:
    run = _make_run(monitor, TURNS)
    registry.runners.add(run.__code__)

    def enter(callback: Callable[..., Any], *args: Any) -> Any:
        # The first callback: only now does the loop's thread run this, scheduling may come from anywhere.
        try:
            if getattr(loop, ATTRIBUTE, None) is monitor and getattr(loop, RUN, None) is not run:
                if monitor.thread_id != threading.get_ident():
                    monitor.enter_thread()
                run_direct = _make_run(monitor, TURNS_DIRECT)
                setattr(loop, RUN, run)
                setattr(loop, RUN_DIRECT, run_direct)
                heartbeat.start(loop, monitor)
                registry.loop_runs(loop)
                registry.may_succeed(loop, monitor, (RUN, run), (RUN_DIRECT, run_direct))
        except Exception:
            guard.failed("begin to monitor a uvloop loop")
        try:
            return run(callback, *args)
        finally:
            del callback, args

    setattr(loop, RUN, enter)
    setattr(loop, RUN_DIRECT, enter)
    return enter


def _make_run(monitor: Monitor, turns: int) -> Callable[..., Any]:
    # Runs for every callback, inside its context.
    def run(callback: Callable[..., Any], *args: Any) -> Any:
        monitor.started = started = perf_counter()
        try:
            return callback(*args)
        finally:
            ended = perf_counter()
            if ended - monitor.started >= monitor.threshold:
                monitor.callback_ended(ended, callback, None, turns)
            monitor.busy += ended - started
            monitor.started = 0.0
            # The traceback of a task's exception keeps this frame, which would keep the task.
            del callback, args

    return run


# What follows takes the place of uvloop's methods, with the names of their parameters. Once "patches" are
# undone each calls the original alone: a loop may carry the runner of a wrapper put over this one later.


def _make_call_soon(
    original: Any, attach: Callable[[Any], Callable[..., Any]], patches: Patches
) -> Callable[..., Any]:
    def call_soon(self: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        if not patches.active:
            return original(self, callback, *args, context=context)
        try:
            run = self._loopblock_run
        except AttributeError:
            run = attach(self)
        return original(self, run, callback, *args, context=context)

    setattr(call_soon, RUN, patches)
    return call_soon


def _make_call_later(
    original: Any, attach: Callable[[Any], Callable[..., Any]], patches: Patches
) -> Callable[..., Any]:
    def call_later(self: Any, delay: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        if not patches.active:
            return original(self, delay, callback, *args, context=context)
        try:
            run = self._loopblock_run_direct
        except AttributeError:
            run = attach(self)
        return original(self, delay, run, callback, *args, context=context)

    return call_later


def _make_call_at(
    original: Any, attach: Callable[[Any], Callable[..., Any]], patches: Patches
) -> Callable[..., Any]:
    def call_at(self: Any, when: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        if not patches.active:
            return original(self, when, callback, *args, context=context)
        try:
            run = self._loopblock_run_direct
        except AttributeError:
            run = attach(self)
        return original(self, when, run, callback, *args, context=context)

    return call_at


def _make_add_reader(
    original: Any, attach: Callable[[Any], Callable[..., Any]], patches: Patches
) -> Callable[..., Any]:
    def add_reader(self: Any, fileobj: Any, callback: Any, *args: Any) -> Any:
        if not patches.active:
            return original(self, fileobj, callback, *args)
        try:
            run = self._loopblock_run_direct
        except AttributeError:
            run = attach(self)
        return original(self, fileobj, run, callback, *args)

    return add_reader


def _make_add_signal_handler(
    original: Any, attach: Callable[[Any], Callable[..., Any]], patches: Patches
) -> Callable[..., Any]:
    add_reader = _make_add_reader(original, attach, patches)

    def add_signal_handler(self: Any, sig: Any, callback: Any, *args: Any) -> Any:
        # What the original refuses to call, it must see.
        if sig == signal.SIGCHLD or asyncio.iscoroutine(callback) or inspect.iscoroutinefunction(callback):
            return original(self, sig, callback, *args)
        return add_reader(self, sig, callback, *args)

    return add_signal_handler
