"""Whether work that was meant to be offloaded has left the loop's thread, and whether the loop kept turning.

The coroutine function runs on a loop of its own. Meanwhile every call that it hands to a thread pool
(``asyncio.to_thread``, ``run_in_executor``, starlette's ``run_in_threadpool``, anyio's ``to_thread``) or to a
process pool is noted, and a timer on the loop tells how long the loop stood still at most.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from otel_loopblock import guard
from otel_loopblock.explain.block import Block
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.testing.detect import detect_blocking
from otel_loopblock.testing.threads.callables import name_of
from otel_loopblock.testing.threads.parallelism.clocks import ThreadClock
from otel_loopblock.testing.threads.parallelism.probe import GilProbe
from otel_loopblock.testing.words import excuse, headline

RUNS = 3

_BEAT_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadedCall:
    """One call that the coroutine handed to a pool."""

    function: str
    pool: str
    """``thread``, ``process`` or ``anyio``."""
    thread: str | None
    """Name of the thread that ran it; ``None`` for a process, or if it never began."""
    wall_s: float
    """How long it ran; 0 where that is not known (a process)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadReport:
    """What a coroutine function did with its work. ``str()`` of it is the report for people."""

    function: str
    calls: tuple[OffloadedCall, ...]
    """What it handed to pools, in that order."""
    loop_thread: str
    wall_s: float
    standstill_s: float
    """The longest time for which the loop did not turn; waiting for a CPU left out where that is known."""
    standstill_gil_share: float
    """Share of that time in which the GIL was held, 0 to 1, as a probe thread saw it."""
    threshold_s: float
    blocks: tuple[Block, ...]
    """Callbacks on the loop's own thread that took at least the threshold by themselves."""

    @property
    def left_loop_thread(self) -> bool:
        """Whether it handed anything to a thread or a process."""
        return bool(self.calls)

    @property
    def loop_kept_turning(self) -> bool:
        """Whether the loop stood still for less than the threshold, for whatever reason."""
        return self.standstill_s < self.threshold_s and not self.blocks

    @property
    def reason(self) -> str:
        """What is wrong, or that nothing is, in a sentence."""
        if self.blocks:
            longest = max(self.blocks, key=lambda block: block.duration_s)
            return f"the loop's own thread was blocked: {headline(longest)}"
        if not self.loop_kept_turning:
            stood_still = f"the loop stood still for {self.standstill_s * 1e3:.0f} ms"
            if not self.left_loop_thread:
                return f"nothing was offloaded, and {stood_still}"
            left = f"the work left the loop's thread, and yet {stood_still}"
            if self.standstill_gil_share > 0.5:
                return f"{left}: the work kept the GIL; use a process"
            return f"{left}; the machine may be too busy to tell why"
        if not self.left_loop_thread:
            return "nothing was offloaded, though the loop kept turning"
        most = f"{self.standstill_s * 1e3:.1f} ms at most"
        return f"the work left the loop's thread; the loop stood still for {most}"

    def __str__(self) -> str:
        """Several lines for people."""
        lines = [f"{self.function}: {self.reason}"]
        for call in self.calls:
            where = "a process" if call.pool == "process" else f"thread {call.thread!r}"
            lasted = f" for {call.wall_s * 1e3:.1f} ms" if call.wall_s else ""
            lines.append(f"  {call.function} ran in {where}{lasted}")
        lines.append(f"  loop on thread {self.loop_thread!r}, {self.wall_s * 1e3:.1f} ms in all")
        return "\n".join(lines)


def measure_offload(
    coroutine_function: Callable[..., Any],
    *args: Any,
    threshold_ms: float = 20.0,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    **kwargs: Any,
) -> OffloadReport:
    """Run ``coroutine_function(*args, **kwargs)`` on a loop and see where its work went.

    It runs on a new loop in a new thread, so that this may be called from anywhere, a running loop included
    (which it blocks meanwhile). It is called up to three times, until the loop kept turning: what a busy
    machine adds must not count.

    Args:
        coroutine_function: what is meant to offload its work.
        *args: its arguments.
        threshold_ms: the loop must not stand still for this long, in milliseconds. Python code in another
            thread makes the loop wait for up to a switch interval (5 ms) each time.
        loop_factory: makes the loop, ``uvloop.new_event_loop`` for example; asyncio's by default.
        **kwargs: its keyword arguments.

    Returns:
        The report of the run in which the loop kept turning; if there was none, of one that names a culprit;
        else of that with the shortest standstill.

    Raises:
        TypeError: ``coroutine_function`` does not return an awaitable.
        ValueError: ``threshold_ms`` is not a finite number above 0.
        Exception: whatever the coroutine raises.
    """
    if not callable(coroutine_function):
        raise TypeError(f"{coroutine_function!r} is not callable")
    if not (math.isfinite(threshold_ms) and threshold_ms > 0):
        raise ValueError(f"threshold_ms={threshold_ms!r} cannot be used; it must be a finite number above 0")
    best: OffloadReport | None = None
    for _ in range(RUNS):
        run = _Run(lambda: coroutine_function(*args, **kwargs), threshold_ms, loop_factory)
        report = run.report(name_of(coroutine_function))
        if best is None or _rank(report) < _rank(best):
            best = report
        if best.loop_kept_turning:
            break
    assert best is not None
    return best


def _rank(report: OffloadReport) -> tuple[bool, bool, float]:
    """The best first: the loop kept turning; failing that, it is known what blocked it."""
    return (not report.loop_kept_turning, not report.blocks, report.standstill_s)


def assert_offloaded(
    coroutine_function: Callable[..., Any],
    *args: Any,
    threshold_ms: float = 20.0,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    **kwargs: Any,
) -> OffloadReport:
    """Fail unless ``coroutine_function`` offloads work, and the loop keeps turning while that is done.

    Arguments and errors are those of :func:`measure_offload`.

    Raises:
        AssertionError: with the report as its message.
    """
    report = measure_offload(
        coroutine_function, *args, threshold_ms=threshold_ms, loop_factory=loop_factory, **kwargs
    )
    if not (report.left_loop_thread and report.loop_kept_turning):
        raise AssertionError(str(report))
    return report


class _Run:
    """One run on a loop and a thread of its own."""

    def __init__(
        self,
        call: Callable[[], Any],
        threshold_ms: float,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
    ) -> None:
        self._call = call
        self._threshold_ms = threshold_ms
        self._loop_factory = loop_factory or asyncio.new_event_loop
        self._calls: list[_Call] = []
        self._blocks: list[Block] = []
        self._error: BaseException | None = None
        self._standstill_s = 0.0
        self._standstill = (0.0, 0.0)
        self._wall_s = 0.0
        self._thread_id = 0
        self._clock: ThreadClock | None = None
        self._probe = GilProbe()

    def report(self, function: str) -> OffloadReport:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._run,), name="otel-loopblock-offload-loop")
        thread.start()
        thread.join()
        if self._error is not None:
            raise self._error
        return OffloadReport(
            function=function,
            calls=tuple(call.done() for call in self._calls),
            loop_thread=thread.name,
            wall_s=self._wall_s,
            standstill_s=self._standstill_s,
            standstill_gil_share=self._probe.held_share(*self._standstill),
            threshold_s=self._threshold_ms / 1e3,
            blocks=tuple(b for b in self._blocks if excuse(b) is None and not self._was_kept_out(b)),
        )

    def _was_kept_out(self, block: Block) -> bool:
        """Whether the loop's thread did nothing but wait for the GIL that an offloaded call held."""
        if block.cause in ("cpu", "gil_held", "gc"):
            return False
        ended = block.started_s + block.duration_s
        overlaps = (min(ended, call.ended) - max(block.started_s, call.began) for call in self._calls)
        if max(overlaps, default=0.0) < 0.5 * block.duration_s:
            return False
        return self._probe.held_share(block.started_s, ended) > 0.5

    def _run(self) -> None:
        self._thread_id = threading.get_ident()
        self._clock = ThreadClock()
        _anyio_backend()  # imported before the clock ticks
        try:
            loop = self._loop_factory()
            try:
                asyncio.set_event_loop(loop)
                blocking = detect_blocking(self._threshold_ms, raise_on_block=False)
                with self._probe, blocking as detected:
                    loop.run_until_complete(self._main())
                self._blocks = [b for b in detected.blocks if b.thread_id == self._thread_id]
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                asyncio.set_event_loop(None)
                loop.close()
        except BaseException as error:  # handed to the caller
            self._error = error
        finally:
            self._clock.close()

    async def _main(self) -> None:
        awaitable = self._call()
        if not inspect.isawaitable(awaitable):
            raise TypeError(
                f"it returned {type(awaitable).__name__}, nothing to await: pass the coroutine function that"
                " offloads the work"
            )
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None
        due, delay = perf_counter(), self._delay_s()

        def note() -> None:
            now = perf_counter()
            if now - due <= self._standstill_s:
                return
            late = now - due - (self._delay_s() - delay)
            if late > self._standstill_s:
                self._standstill_s, self._standstill = late, (due, now)

        def beat() -> None:
            nonlocal timer, due, delay
            note()
            delay = self._delay_s()
            due = perf_counter() + _BEAT_S
            timer = loop.call_later(_BEAT_S, beat)

        began = perf_counter()
        with self._noting():
            beat()
            try:
                await awaitable
            finally:
                note()
                self._wall_s = perf_counter() - began
                if timer is not None:
                    timer.cancel()

    def _delay_s(self) -> float:
        return (self._clock.delay_s() if self._clock is not None else None) or 0.0

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note what this thread hands to pools."""
        patches = Patches()
        calls = self._calls
        here = self._thread_id

        def in_threads(submit: Any) -> Any:
            def noting(executor: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
                if threading.get_ident() != here:
                    return submit(executor, fn, *args, **kwargs)
                calls.append(call := _Call(fn, "thread"))
                return submit(executor, call.run, fn, *args, **kwargs)

            return noting

        def in_processes(submit: Any) -> Any:
            def noting(executor: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
                if threading.get_ident() == here:
                    calls.append(_Call(fn, "process"))
                return submit(executor, fn, *args, **kwargs)

            return noting

        def in_anyio(backend: Any) -> None:
            original = backend.run_sync_in_worker_thread  # bound to the class

            async def noting(cls: Any, fn: Any, args: Any, *more: Any, **options: Any) -> Any:
                if threading.get_ident() != here:
                    return await original(fn, args, *more, **options)
                calls.append(call := _Call(fn, "anyio"))
                return await original(call.run, (fn, *args), *more, **options)

            patches.replace(backend, "run_sync_in_worker_thread", lambda _: classmethod(noting))

        try:
            patches.replace(ThreadPoolExecutor, "submit", in_threads)
            patches.replace(ProcessPoolExecutor, "submit", in_processes)
            backend = _anyio_backend()
            if backend is not None:
                in_anyio(backend)
            yield
        finally:
            patches.restore()


def _anyio_backend() -> Any:
    """The class that runs anyio on asyncio (a private module); ``None`` where there is none."""
    try:
        found = importlib.import_module("anyio._backends._asyncio").AsyncIOBackend
        return found if hasattr(found, "run_sync_in_worker_thread") else None
    except ImportError:
        return None
    except Exception:
        guard.failed("find anyio's threads")
        return None


class _Call:
    """A call on its way to a pool."""

    def __init__(self, fn: Any, pool: str) -> None:
        self._function = name_of(fn)
        self._pool = pool
        self._thread: str | None = None
        self.began = self.ended = 0.0
        """``perf_counter``; both 0 for a process, and for a call that never began."""

    def run(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The call itself, in the thread that the pool chose."""
        self._thread = threading.current_thread().name
        self.began = perf_counter()
        try:
            return fn(*args, **kwargs)
        finally:
            self.ended = perf_counter()

    def done(self) -> OffloadedCall:
        """What became of it."""
        return OffloadedCall(
            function=self._function,
            pool=self._pool,
            thread=self._thread,
            wall_s=max(0.0, self.ended - self.began),
        )
