"""The record of one blocked stretch of a callback: what the hooks, the watchdog and the clocks found.

Samples go in, one frozen :class:`Block` comes out; everything that emits reads only this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any, NamedTuple, TypeAlias

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter, time_ns
from otel_loopblock.explain.advice.known import Kind
from otel_loopblock.explain.cause import Cause
from otel_loopblock.explain.phase import Phase
from otel_loopblock.explain.stack import Frame, frame_of
from otel_loopblock.frames import module_of
from otel_loopblock.naming import is_ours, module_in, printable
from otel_loopblock.watch.awaiting import awaiters
from otel_loopblock.watch.evidence import Evidence, RawFrame
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.target import Target


@dataclass(frozen=True, slots=True)
class Block:
    """One stretch of time in which a callback held its loop for at least the threshold."""

    started_s: float
    """``time.perf_counter`` at its start."""
    duration_s: float
    started_unix_ns: int
    threshold_s: float
    loop_type: str
    thread_id: int
    thread_name: str
    task_name: str | None
    cause: Cause
    evidence: Mapping[str, float]
    """Shares and clocks behind the cause, by attribute name."""
    culprit: Frame | None
    call: str | None
    advice: str | None
    stack: tuple[RawFrame, ...] = field(repr=False)
    leaf_call: str | None
    """The C call at the end of ``stack``."""
    samples: int
    ongoing: bool = False
    call_kind: Kind | None = None
    """What kind of call ``call`` is, where that is known."""
    phase: Phase | None = None
    """``startup`` for one of the start-up of a server."""
    awaited_by: tuple[str, ...] = ()
    """The tasks that await the one that blocked, the nearest first; Python 3.14 on."""
    shared_function: str | None = None
    """The innermost function of the application's own that nearly all samples share, where there is one."""

    @property
    def function(self) -> str | None:
        """Whom metrics name: alike for all blocks of a kind, while the culprit is the one of this block."""
        return self.shared_function or (self.culprit.function if self.culprit is not None else None)


class Gist(NamedTuple):
    """What a person wants to know first; a :class:`Block` has the same."""

    cause: Cause
    culprit: Frame | None
    call: str | None
    advice: str | None


Named: TypeAlias = "tuple[Frame | None, str | None]"
"""A culprit and a call."""

Explain: TypeAlias = "Callable[[Observed, Monitor, Evidence, Named], Block]"
"""Makes the record of a stretch. It gets the monitor of the loop, what is known of the callback, and the
culprit and the call for a stretch in which no stack was seen."""


class Observed:
    """What the loop's thread notes of a stretch before it goes on; to explain it takes far longer.

    Whoever asks for :attr:`block` first has it explained on their own thread; the loop's does not ask.

    Args:
        monitor: of the loop that was blocked.
        evidence: what is known of the callback.
        began: start of the stretch, ``perf_counter``.
        ended: its end; now, for one that still lasts.
        target: what the loop called; names the culprit when no stack was seen.
        explain: makes the record.
        settled: what was settled of it while it lasted.
        ongoing: whether the callback still runs.
    """

    __slots__ = (
        "_block",
        "_explain",
        "_left",
        "awaiters",
        "began",
        "count_delayed",
        "ended",
        "ended_unix_ns",
        "entry",
        "ongoing",
        "settled",
        "started_unix_ns",
        "task_name",
    )

    def __init__(
        self,
        monitor: Monitor,
        evidence: Evidence,
        began: float,
        ended: float,
        target: Target,
        explain: Explain,
        *,
        settled: Gist | None = None,
        ongoing: bool = False,
    ) -> None:
        self.began = began
        self.ended = ended
        self.started_unix_ns = time_ns() - int((perf_counter() - began) * 1e9)
        """Its start on the wall clock."""
        self.ended_unix_ns = self.started_unix_ns + int((ended - began) * 1e9)
        """Its end."""
        self.task_name = _task_name(target.task)
        # On another thread than the loop's they may run on.
        self.awaiters = awaiters(target.task) if not ongoing else ()
        """The tasks that await the one that blocked."""
        self.ongoing = ongoing
        self.settled = settled
        """What was settled of it while it lasted; the record will say the same."""
        self.count_delayed: Callable[[], int] | None = None
        """Tells how many requests its callback has made wait, as far as is known by then."""
        self._explain = explain
        # Now, because its task goes on; and what the application made must not be kept, nor die elsewhere.
        named: Named = (None, None)
        self.entry: str | None = None
        """Module of the task's own coroutine, where no stack was seen."""
        for look in reversed(evidence.looks):
            if look.frames and began <= look.at <= ended:
                break
        else:
            # What it asks are objects of the application's: a block without a name is one all the same.
            named = guard.call("name what a loop called", _from_target, target, otherwise=named)
            self.entry = guard.call("name what a loop called", _entry, target)
        self._left: tuple[Monitor, Evidence, Named] | None = (
            monitor,
            evidence,
            named,
        )
        self._block: Block | None = None

    @property
    def duration_s(self) -> float:
        """How long it was."""
        return self.ended - self.began

    def keep_within(self, started_unix_ns: int, ended_unix_ns: int) -> None:
        """Correct the times on the wall clock, which are worked out, by two that the stretch lies between."""
        self.started_unix_ns = max(self.started_unix_ns, started_unix_ns)
        self.ended_unix_ns = max(self.started_unix_ns, min(self.ended_unix_ns, ended_unix_ns))

    @property
    def gist(self) -> Gist | Block:
        """The record, or where there is none yet what is settled of it."""
        return self.settled or self.block

    @property
    def block(self) -> Block:
        """The record."""
        left, block = self._left, self._block  # in this order: another thread may be at it
        if block is None:
            assert left is not None  # it goes only after the record has come
            block = self._block = self._explain(self, *left)
            self._left = None
        return block


def _task_name(task: Any) -> str | None:
    try:
        name = task.get_name() if task is not None else None
    except Exception:  # a task of somebody else's making
        return None
    return printable(name) if isinstance(name, str) else None


def _entry(target: Target) -> str | None:
    return module_of(target.task.get_coro()) if target.task is not None else None


def _from_target(target: Target) -> Named:
    """Name the culprit, and the call, by what the loop was asked to call: no frame of it was seen."""
    if target.task is not None:
        inner = target.task.get_coro()
        for _ in range(50):  # the upstream asyncio instrumentation wraps the user's coroutine
            # What a running coroutine awaits must not be asked: CPython 3.12 reads a stack that is not there.
            below = getattr(inner, "cr_await", None) if not getattr(inner, "cr_running", False) else None
            if getattr(below, "cr_code", None) is None:
                break
            inner = below
        code = getattr(inner, "cr_code", None) or getattr(inner, "gi_code", None)
        if code is None or is_ours(code):
            return None, None
        # A coroutine that has ended tells no module; by its file it gets the same name as while it ran.
        module = module_of(inner) or module_in(code.co_filename)
        return frame_of(code, code.co_firstlineno, module), None
    callback = target.callback
    for _ in range(10):
        inner = getattr(callback, "func", None) if type(callback).__name__ == "partial" else None
        inner = inner or getattr(callback, "__func__", None)
        if type(callback) is FunctionType and is_ours(callback.__code__):  # it may stand for another
            inner = getattr(callback, "__wrapped__", None)
        if inner is None:
            break
        callback = inner
    code = getattr(callback, "__code__", None)
    module = getattr(callback, "__module__", None)
    if type(code) is CodeType:  # a mock of a function has a mock of it
        if is_ours(code):
            return None, None
        return frame_of(code, code.co_firstlineno, module), None
    name = getattr(callback, "__qualname__", None)
    if isinstance(name, str):
        full = printable(f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name)
        return Frame(full, "", 0), full
    return None, None
