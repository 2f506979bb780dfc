"""What runs around every callback.

Each of the replacements is a plain function: to call an object of a class in Python takes three times as
long. The block that times a callback stands here three times for the same reason.

A signal handler may raise between any two lines, so ``started`` is set within the ``try``, and is 0.0 after
it in any case. A traceback keeps the frames it has passed: they let go of what belongs to the callback.
"""

from __future__ import annotations

import functools
from asyncio.events import _get_running_loop
from collections.abc import Callable, Mapping
from contextvars import Context
from types import CodeType, MethodType
from typing import Any, Protocol, TypeVar, cast
from weakref import ref

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.core.pure.clocks import scheduling
from otel_loopblock.core.pure.load import Load, Stretch

_Self = TypeVar("_Self", bound="Monitor")


class Sleep(Protocol):
    """The watchdog's, as others see it."""

    asleep: bool
    due: float
    woke: float

    def rouse(self, monitor: Monitor, now: float) -> None:
        """Go on ticking: a callback has begun."""

    def queued(self) -> float | None:
        """How long its thread had no CPU."""


class Replacement(Protocol):
    """What takes the place of a function of a class."""

    active: bool
    """Whether it times; ``False``: it only calls the original."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the original."""


class Monitor:
    """What the hot path writes of one loop; a base class, any arguments are ignored."""

    __slots__ = (
        "before_at",
        "before_busy",
        "before_cpu",
        "before_process_cpu",
        "blocked_at",
        "busy",
        "callback",
        "clock",
        "context",
        "is_main",
        "load",
        "look_due",
        "looked_at",
        "loop",
        "native_id",
        "rest_at",
        "rest_queued",
        "rest_runs",
        "runs",
        "started",
        "stopped",
        "threshold",
        "unwatched",
        "waiter",
        "woke_cpu",
    )

    started: float
    """``perf_counter`` at the start of the running callback; 0.0 while none runs."""
    busy: float
    """Seconds spent in callbacks that have ended."""
    threshold: float
    """Seconds a callback must run for :meth:`callback_ended` to be called."""
    runs: int
    """How many callbacks have ended."""
    is_main: int
    stopped: int
    blocked_at: float
    """Whether the loop runs in the main thread."""
    load: Load
    """How full the loop is."""
    callback: Any
    """What the loop is calling just now, or ``None``."""
    context: Context | None
    """The context it was scheduled with; ``None`` where that is not known."""
    waiter: Sleep | None
    """The watchdog's sleep, which the first callback ends."""
    unwatched: Any
    """A callback that does not wake the watchdog, or ``None``."""
    loop: ref[Any] | None
    """A weak reference to the loop; ``None`` once the monitor is detached: then nothing is timed."""
    clock: int | None
    """The CPU clock of the loop's thread, as :func:`thread_clock` returns it there."""
    looked_at: float
    """``started`` of the callback that :attr:`look_due` is about."""
    look_due: float
    """``perf_counter`` when that callback is to be looked at next."""
    before_at: float
    """``perf_counter`` when the clocks were read last while no callback was long; 0.0: never."""
    before_cpu: float
    """CPU seconds of the loop's thread then; -1.0: unknown."""
    before_process_cpu: float
    """CPU seconds of the process then; -1.0: unknown."""
    before_busy: float
    """``busy`` then."""
    woke_cpu: float
    """CPU seconds of the loop's thread when the waiter woke up for a long callback; -1.0: unknown."""

    native_id: int
    """What the kernel calls the loop's thread; 0 where that is not known."""
    rest_at: float
    """``perf_counter`` when :meth:`begin_rest` has read the counters; 0.0: they are not known."""
    rest_queued: float
    """Seconds that the thread had had no CPU then."""
    rest_runs: int
    """How often it had got one then."""

    def __new__(cls: type[_Self], *args: object, **kwargs: object) -> _Self:
        """Not ``__init__``: a subclass has one of its own, with other arguments."""
        self = super().__new__(cls)
        self.started = self.busy = self.threshold = 0.0
        self.runs = self.is_main = self.stopped = 0
        self.blocked_at = 0.0
        self.load = Load()
        self.callback = self.context = self.waiter = self.loop = self.clock = self.unwatched = None
        self.looked_at = self.look_due = 0.0
        self.before_at = self.before_busy = 0.0
        self.before_cpu = self.before_process_cpu = self.woke_cpu = -1.0
        self.native_id = self.rest_runs = 0
        self.rest_at = self.rest_queued = 0.0
        return self

    def begin_rest(self) -> None:
        """Read what the kernel counts of the loop's thread.

        What is added until :meth:`rest_ended` counts from here.
        """
        found = scheduling(self.native_id) if self.native_id else None
        self.rest_at = 0.0
        if found is not None:
            self.rest_queued, self.rest_runs = found
            self.rest_at = perf_counter()

    def rest_ended(self, since: float, now: float, queued: float, runs: int, /) -> None:
        """Called on the loop's thread when the first callback after a rest begins; does nothing.

        Only where the thread seems to have waited for the GIL or a CPU.

        Args:
            since: ``perf_counter`` when the counters were read last.
            now: ``perf_counter``.
            queued: seconds that the thread could have run since but had no CPU.
            runs: how often it got one.
        """

    def tick(self, now: float, cpu_s: float, saturation_s: float, block_s: float) -> int:
        """Look how full the loop is, as the waiter does at each tick: 0: it rests, 1: full, 2: it was full.

        Args:
            now: ``perf_counter``.
            cpu_s: CPU seconds of the loop's thread; negative: unknown.
            saturation_s: a loop that has had nearly no rest for as long is full.
            block_s: a callback that runs as long is a block.
        """
        if self.stopped:
            cpu_s = -1.0
        self.load.blocked(self.blocked_at)
        return self.load.tick(now, self.started, self.busy, self.runs, cpu_s, saturation_s, block_s)

    @property
    def stretch(self) -> Stretch:
        """How long the loop had nearly no rest, as the waiter saw it last.

        Whether it is full, as :meth:`tick` says it; since and until when, seconds in callbacks, number of
        callbacks.
        """
        return self.load.stretch

    def callback_ended(self, ended: float, callback: Any, context: Context | None, turns: int, /) -> None:
        """Called on the loop's thread when a callback has run for ``threshold`` seconds; does nothing.

        ``started`` is still set then. What this raises is the callback's outcome, as in a ``finally`` clause.

        Args:
            ended: ``perf_counter`` at its end.
            callback: what the loop called.
            context: the context it ran in; ``None`` when that is the current one.
            turns: what the replacement was made with.
        """


_Attach = Callable[[Any], Monitor | None] | None

_NOBODY = Monitor()
"""Of no loop."""


def Run(
    handle_class: type,
    original: Callable[..., Any],
    monitors: Mapping[int, Monitor],
    attach: _Attach,
    turns: int,
) -> Replacement:
    """Make what takes the place of ``asyncio.Handle._run``."""
    last = _NOBODY

    def _run(self: Any) -> Any:
        nonlocal last
        if not run.active:
            return original(self)
        try:
            # Now: the callback may cancel its handle.
            callback, context = self._callback, self._context
            monitor = last
            reference = monitor.loop
            if reference is None or reference() is not self._loop:
                last = monitor = _find(self._loop, monitors, attach)
        except Exception as error:  # attributes of a subclass are its own affair
            guard.let_through(error)
            return original(self)
        if monitor is _NOBODY or not run.active:  # attaching may have ended the timing
            try:
                return original(self)
            finally:
                del self, callback, context
        ended = started = perf_counter()
        try:
            monitor.callback = callback
            monitor.context = context
            monitor.started = started
            waiter = monitor.waiter
            if waiter is not None and waiter.asleep and callback is not monitor.unwatched:
                guard.call("wake the watchdog", waiter.rouse, monitor, started)
            return original(self)
        finally:
            try:
                ended = perf_counter()
                if ended - monitor.started >= monitor.threshold and monitor.started:
                    try:
                        monitor.callback_ended(ended, callback, context, turns)
                    except Exception as error:  # it would end the loop
                        original(_failed(handle_class, self, callback, context, error))
            finally:
                monitor.busy += ended - started
                monitor.runs += 1
                monitor.started = 0.0
                monitor.callback = monitor.context = None
                del self, callback, context

    run = _replacement(_run, original, attach)
    return run


def Scheduler(
    original: Callable[..., Any],
    position: int,
    monitors: Mapping[int, Monitor],
    attach: _Attach,
    turns: int,
) -> Replacement:
    """Make what takes the place of a loop's method that schedules a callback: it passes a :class:`Call` on.

    Args:
        position: where the callback stands among the arguments, ``self`` included.
    """
    if position < 1:
        raise ValueError(f"position={position} must be at least 1: self comes first")
    last = _NOBODY

    def schedule(*args: Any, **kwargs: Any) -> Any:
        nonlocal last
        if not scheduler.active or not args:
            return original(*args, **kwargs)
        is_positional = len(args) > position
        callback = args[position] if is_positional else kwargs.get("callback")
        # What the original refuses to call, as a coroutine, it must see.
        if callable(callback) and type(callback) is not Call:
            try:
                monitor = last
                reference = monitor.loop
                if reference is None or reference() is not args[0]:
                    last = monitor = _find(args[0], monitors, attach)
                # Attaching may have ended the timing.
                call = Call(callback, monitor, turns) if monitor is not _NOBODY and scheduler.active else None
            except Exception:
                guard.failed("time a callback")
                call = None
            if call is not None:
                if is_positional:
                    passed = list(args)
                    passed[position] = call
                    return original(*passed, **kwargs)
                kwargs["callback"] = call
        return original(*args, **kwargs)

    scheduler = _replacement(schedule, original, attach)
    return scheduler


class Call:
    """A callback that is timed when it is called.

    Whatever is asked of it, the callback answers: what a user reads in a handle's repr, in "Exception in
    callback" or in the warning of a slow one is about the user's own.
    """

    __slots__ = ("__callback", "__monitor", "__turns")

    def __init__(self, callback: Callable[..., Any], monitor: Monitor, turns: int) -> None:
        self.__callback = callback
        self.__monitor = monitor
        self.__turns = turns

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the callback."""
        callback, monitor = self.__callback, self.__monitor
        if monitor.loop is None:  # detached since it was scheduled
            return callback(*args, **kwargs)
        ended = started = perf_counter()
        try:
            monitor.callback = callback
            monitor.started = started
            waiter = monitor.waiter
            if waiter is not None and waiter.asleep and callback is not monitor.unwatched:
                guard.call("wake the watchdog", waiter.rouse, monitor, started)
            return callback(*args, **kwargs)
        finally:
            try:
                ended = perf_counter()
                if ended - monitor.started >= monitor.threshold and monitor.started:
                    _report(monitor, ended, callback, None, self.__turns)
            finally:
                monitor.busy += ended - started
                monitor.runs += 1
                monitor.started = 0.0
                monitor.callback = None
                del self, callback, args, kwargs

    def __getattr__(self, name: str) -> Any:
        """The callback's."""
        return getattr(self.__callback, name)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The callback's: ``isinstance`` asks for it."""
        return self.__callback.__class__

    def __repr__(self) -> str:
        """The callback's."""
        return repr(self.__callback)

    def __str__(self) -> str:
        """The callback's."""
        return str(self.__callback)

    def __eq__(self, other: object) -> bool:
        """Whether the callback is equal."""
        return bool(self.__callback == other)

    def __hash__(self) -> int:
        """The callback's."""
        return hash(self.__callback)

    @staticmethod
    def unwrap(callback: Any) -> Any:
        """What a ``Call`` is to call; anything else is returned as it is."""
        return callback.__callback if type(callback) is Call else callback


unwrap = Call.unwrap


def Method(original: Callable[..., Any], monitors: Mapping[int, Monitor], turns: int) -> Replacement:
    """Make what takes the place of a protocol's method, which libuv calls without a handle."""
    last = _NOBODY

    def method(*args: Any, **kwargs: Any) -> Any:
        nonlocal last
        loop = _get_running_loop() if timed.active else None
        if loop is None:
            return original(*args, **kwargs)
        try:
            monitor = last
            reference = monitor.loop
            if reference is None or reference() is not loop:
                last = monitor = _find(loop, monitors, None)
        except Exception:
            guard.failed("time a protocol")
            monitor = _NOBODY
        # From within a callback, as by super(), it is that one which is timed.
        if monitor is _NOBODY or monitor.started:
            return original(*args, **kwargs)
        ended = started = perf_counter()
        try:
            monitor.callback = original
            monitor.started = started
            if monitor.waiter is not None and monitor.waiter.asleep:
                guard.call("wake the watchdog", monitor.waiter.rouse, monitor, started)
            return original(*args, **kwargs)
        finally:
            try:
                ended = perf_counter()
                if ended - monitor.started >= monitor.threshold and monitor.started:
                    _report(monitor, ended, original, args, turns)
            finally:
                monitor.busy += ended - started
                monitor.runs += 1
                monitor.started = 0.0
                monitor.callback = None
                del args, kwargs

    timed = _replacement(method, original, None)
    return timed


CALLERS = frozenset(
    code for function in (Run, Method) for code in function.__code__.co_consts if isinstance(code, CodeType)
) | {Call.__call__.__code__}
"""Code of ours that runs callbacks: outside it, a stack is the loop's."""


def _replacement(function: Any, original: Callable[..., Any], attach: object) -> Replacement:
    """Have ``function`` say of itself what the original says."""
    for name, called in (("original", original), ("attach", attach)):
        if called is not None and not callable(called):
            raise TypeError(f"{name}={called!r} cannot be called")
    functools.update_wrapper(function, original)
    function.active = True
    return cast("Replacement", function)


def _find(
    loop: Any, monitors: Mapping[int, Monitor], attach: Callable[[Any], Monitor | None] | None
) -> Monitor:
    """The loop's monitor, or :data:`_NOBODY`; an error on the way is not the application's."""
    try:
        found = monitors.get(id(loop))
        # An address may be used again; a weak reference to what has died is empty.
        if (found is None or found.loop is None or found.loop() is not loop) and attach is not None:
            found = attach(loop)
        if isinstance(found, Monitor) and found.loop is not None and found.loop() is loop:
            return found
    except Exception:
        guard.failed("attach to a loop")
    return _NOBODY


def postponing(function: Callable[..., Any], /) -> Callable[..., Any]:
    """Make what Python calls where it ignores what is raised: in a callback of the garbage collector, say.

    The compiled core has it raised in the main thread a moment later. Here it is lost, and Python says so.
    """
    return function


def _report(monitor: Monitor, ended: float, callback: Any, args: tuple[Any, ...] | None, turns: int) -> None:
    """Tell of a callback that was long; an error in this does not replace what ends the process."""
    try:
        if args is not None:
            callback = guard.call("report a block", _bound, callback, args, otherwise=callback)
        monitor.callback_ended(ended, callback, None, turns)
    except Exception as error:
        before = error.__context__
        while before is not None and isinstance(before, Exception):
            before = before.__context__
        if before is None:
            raise
        guard.failed("report a block")


class _Failure:
    """Stands in the place of a handle's context until something is run in it: that raises an error."""

    def __init__(self, error: Exception, handle: Any, context: Context | None) -> None:
        self._error = error
        self._handle = handle
        self._context = context

    def run(self, *args: object) -> None:
        self._handle._context = self._context  # who is told of the error is run in there
        raise self._error


def _failed(handle_class: type, handle: Any, callback: Any, context: Context | None, error: Exception) -> Any:
    """A handle like that one, whose callback raises an error: asyncio has the words for it."""
    failed: Any = handle_class(callback, handle._args or (), handle._loop, context)
    failed._context = _Failure(error, failed, context)
    return failed


def _bound(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[..., Any]:
    """What the transport called: its protocol tells whose connection it was."""
    return MethodType(function, args[0]) if args and args[0] is not None else function
