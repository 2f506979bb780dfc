"""Random programs of tasks, timers, callbacks and spans, and what runs them on a clock that only blocks move.

Every callback notes what the model is to know: when it began and ended, which spans ended in it, which one
was current at last.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
import types
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvloop
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from tests.properties.model import TICK_NS, Callback, Current, Ending

SLOTS = 3
"""Spans that any part of a program may open, use and end."""


class Clock:
    """Stands still but for those who block."""

    def __init__(self) -> None:
        self.tick = 512_000
        self.wall = 1_000_000_000_000

    def perf_counter(self) -> float:
        return self.tick / 512

    def time_ns(self) -> int:
        return self.wall * TICK_NS

    def advance(self, ticks: int) -> None:
        self.tick += ticks
        self.wall += ticks


# -- what a program may do ------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    ticks: int


@dataclass(frozen=True)
class Span:
    """A span around a part, which may wait. It may have begun before, and end before now."""

    body: tuple[Any, ...]
    began: int = 0
    ended: int = 0


@dataclass(frozen=True)
class Open:
    slot: int
    began: int = 0


@dataclass(frozen=True)
class Use:
    """Make a span current for a part; it may have ended, or end in there."""

    slot: int
    body: tuple[Any, ...]


@dataclass(frozen=True)
class Close:
    slot: int
    ended: int = 0
    in_thread: bool = False


@dataclass(frozen=True)
class Attach:
    """Make a span current for the rest of the callback's context."""

    slot: int


@dataclass(frozen=True)
class Sleep:
    ticks: int


@dataclass(frozen=True)
class Spawn:
    body: tuple[Any, ...]


@dataclass(frozen=True)
class Await:
    body: tuple[Any, ...]


@dataclass(frozen=True)
class Soon:
    body: tuple[Any, ...]
    threadsafe: bool = False


@dataclass(frozen=True)
class Later:
    ticks: int
    body: tuple[Any, ...]


@dataclass(frozen=True)
class WhenDone:
    """A callback of the last task."""

    body: tuple[Any, ...]


@dataclass(frozen=True)
class Raise:
    pass


@dataclass(frozen=True)
class Try:
    body: tuple[Any, ...]


@dataclass(frozen=True)
class Cancel:
    task: int


@dataclass(frozen=True)
class InThread:
    """Another loop in a thread, which the callback waits for."""

    body: tuple[Any, ...]


@dataclass(frozen=True)
class Jump:
    """The wall clock is set."""

    ticks: int


def _operations(body: st.SearchStrategy[tuple[Any, ...]] | None) -> st.SearchStrategy[Any]:
    slot = st.integers(0, SLOTS - 1)
    before = st.one_of(st.just(0), st.integers(-15, 3))
    kinds: list[st.SearchStrategy[Any]] = [
        # The rest is about them: some just at the threshold.
        *[st.builds(Block, st.integers(1, 12)), st.builds(Block, st.integers(4, 8))] * 3,
        st.builds(Open, slot, before),
        st.builds(Close, slot, before, st.booleans()),
        st.builds(Close, slot),
        st.builds(Sleep, st.integers(0, 8)),
        st.builds(Attach, slot),
        st.builds(Raise),
        st.builds(Cancel, st.integers(0, 3)),
        st.builds(Jump, st.integers(-20, 20)),
    ]
    if body is not None:
        kinds += [
            *[st.builds(Span, body, before, before), st.builds(Span, body)] * 2,
            st.builds(Use, slot, body),
            st.builds(Spawn, body),
            st.builds(Await, body),
            st.builds(Soon, body, st.booleans()),
            st.builds(Later, st.integers(0, 8), body),
            st.builds(WhenDone, body),
            st.builds(Try, body),
            st.builds(InThread, body),
        ]
    return st.one_of(kinds)


def programs(depth: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    """Programs: what is done one after another."""
    body: st.SearchStrategy[tuple[Any, ...]] | None = None
    for _ in range(depth + 1):
        body = st.lists(_operations(body), min_size=1, max_size=6).map(tuple)
    assert body is not None
    return body


# -- what notes -----------------------------------------------------------------------------------


class Notes(SpanProcessor):
    """The callbacks of a program, as the program itself sees them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.callbacks: list[Callback] = []
        self._running = threading.local()

    def begin(self) -> None:
        assert getattr(self._running, "callback", None) is None
        self._running.callback = Callback(self.clock.tick)

    def end(self) -> None:
        callback, self._running.callback = self._running.callback, None
        callback.ended, callback.wall = self.clock.tick, self.clock.wall
        span: Any = trace.get_current_span()
        if span.get_span_context().is_valid:
            callback.current = Current(
                span.get_span_context().span_id,
                span.parent.span_id if span.parent is not None else None,
                span.start_time // TICK_NS,
                span.end_time // TICK_NS if span.end_time is not None else None,
                span.is_recording(),
            )
        self.callbacks.append(callback)

    def on_end(self, span: ReadableSpan) -> None:
        callback = getattr(self._running, "callback", None)
        if callback is None or span.name == "event_loop.blocked":
            return
        assert span.start_time is not None
        assert span.end_time is not None
        callback.endings.append(
            Ending(
                span.get_span_context().span_id,
                self.clock.tick,
                self.clock.wall,
                span.start_time // TICK_NS,
                span.end_time // TICK_NS,
            )
        )


# -- what runs ------------------------------------------------------------------------------------


class Expected(Exception):
    """What programs raise."""


class IdleSelector(selectors.SelectSelector):
    """While nothing is to be done, the clock goes on at once."""

    clock: Clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout > 0 and not (ready := super().select(0)):
            self.clock.advance(round(timeout * 512))
            return ready
        return super().select(timeout)


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's, on that clock."""

    def __init__(self, clock: Clock) -> None:
        selector = IdleSelector()
        selector.clock = clock
        super().__init__(selector)
        self.time = clock.perf_counter  # type: ignore[method-assign]


def new_loop(kind: str, clock: Clock) -> asyncio.AbstractEventLoop:
    """A loop. uvloop's timers are by the real clock: a tick of them is a millisecond."""
    return VirtualLoop(clock) if kind == "asyncio" else uvloop.new_event_loop()


class Program:
    """Runs a program on a loop of its own, to the end of all that it has begun.

    Args:
        kind: of loop.
        notes: are taken of every callback.
        tracer: makes spans.
        slots: the spans that any part may use; replaced ones stay, behind them.
    """

    def __init__(self, kind: str, notes: Notes, tracer: trace.Tracer, slots: list[Any]) -> None:
        self._kind = kind
        self._notes = notes
        self._clock = notes.clock
        self._tracer = tracer
        self._slots = slots
        self._tasks: list[asyncio.Task[None]] = []
        self._pending = 0

    def run(self, body: tuple[Any, ...]) -> None:
        """Run it on this thread."""
        self._loop = loop = new_loop(self._kind, self._clock)
        self._tick_s = 1 / 512 if self._kind == "asyncio" else 0.001
        loop.set_exception_handler(lambda *_: None)
        try:
            loop.run_until_complete(self._main(body))
        finally:
            loop.close()

    async def _main(self, body: tuple[Any, ...]) -> None:
        self._task(body)
        while self._pending or not all(task.done() for task in self._tasks):
            await asyncio.sleep(self._tick_s)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- callbacks --------------------------------------------------------------------------------

    def _task(self, body: tuple[Any, ...]) -> asyncio.Task[None]:
        async def task() -> None:
            await self._noted(self._do(body, True))

        made = self._loop.create_task(task())
        self._tasks.append(made)
        return made

    @types.coroutine
    def _noted(self, inner: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Take a note of each step."""
        error: BaseException | None = None
        while True:
            self._notes.begin()
            try:
                awaited = inner.send(None) if error is None else inner.throw(error)
            except StopIteration:
                return
            finally:
                self._notes.end()
            error = None
            try:
                yield awaited
            except BaseException as raised:
                error = raised

    def _callback(self, body: tuple[Any, ...]) -> Callable[..., None]:
        """A plain one: there is nothing in it to wait for."""
        self._pending += 1

        def callback(*_: object) -> None:
            self._pending -= 1
            self._notes.begin()
            try:
                with contextlib.suppress(StopIteration):
                    self._do(body, False).send(None)
            finally:
                self._notes.end()

        return callback

    # -- operations -------------------------------------------------------------------------------

    async def _do(self, body: tuple[Any, ...], may_wait: bool) -> None:
        for each in body:
            match each:
                case Block(ticks):
                    self._clock.advance(ticks)
                case Span(inner, began, ended):
                    span = self._start("around", began)
                    try:
                        with trace.use_span(span, end_on_exit=False):
                            await self._do(inner, may_wait)
                    finally:
                        self._end(span, ended)
                case Open(slot, began):
                    self._slots.append(self._slots[slot])  # has to end, to be seen
                    self._slots[slot] = self._start(f"slot {slot}", began)
                case Use(slot, inner):
                    with trace.use_span(self._slots[slot], end_on_exit=False):
                        await self._do(inner, may_wait)
                case Attach(slot):
                    context.attach(trace.set_span_in_context(self._slots[slot]))
                case Close(slot, ended, in_thread):
                    if in_thread:
                        run_in_thread(partial(self._end, self._slots[slot], ended))
                    else:
                        self._end(self._slots[slot], ended)
                case Sleep(ticks):
                    if may_wait:
                        await asyncio.sleep(ticks * self._tick_s)
                case Spawn(inner):
                    self._task(inner)
                case Await(inner):
                    task = self._task(inner)
                    if may_wait:
                        await task
                case Soon(inner, threadsafe):
                    schedule = self._loop.call_soon_threadsafe if threadsafe else self._loop.call_soon
                    schedule(self._callback(inner))
                case Later(ticks, inner):
                    self._loop.call_later(ticks * self._tick_s, self._callback(inner))
                case WhenDone(inner):
                    self._tasks[-1].add_done_callback(self._callback(inner))
                case Raise():
                    raise Expected
                case Try(inner):
                    with contextlib.suppress(Expected, asyncio.CancelledError):
                        await self._do(inner, may_wait)
                case Cancel(number):
                    if number < len(self._tasks):
                        self._tasks[-1 - number].cancel()
                case InThread(inner):
                    run_in_thread(partial(self._run_another, context.get_current(), inner))
                case Jump(ticks):
                    self._clock.wall += ticks

    def _start(self, name: str, began: int) -> trace.Span:
        return self._tracer.start_span(
            name, start_time=(self._clock.wall + began) * TICK_NS if began else None
        )

    def _end(self, span: trace.Span, ended: int) -> None:
        if span.is_recording():
            span.end((self._clock.wall + ended) * TICK_NS if ended else None)

    def _run_another(self, carried: context.Context, body: tuple[Any, ...]) -> None:
        context.attach(carried)  # to a thread that is at its end then
        Program(self._kind, self._notes, self._tracer, self._slots).run(body)


def run_in_thread(work: Callable[[], None]) -> None:
    """Do it in a thread, and wait for it; its error is the caller's."""
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    outcome.result(60)
