"""Finds the requests that a block made wait: reads what waited as spans, each request once per block.

At most so many are annotated, in a limited time, on the loop's thread, because a request that had to wait
often ends in the very step that it waited for. The rest is recorded on the worker's thread: of that, too,
only as many as the loop's thread could set aside in the same time.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextvars import Context as PythonContext
from itertools import chain, islice
from typing import Any, Final, NamedTuple, TypeAlias

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, get_current_span

from otel_loopblock.clocks import thread_time
from otel_loopblock.delayed.queue import SHORTEST_S, Upcoming, Waiting
from otel_loopblock.emit.context import local_root, variable
from otel_loopblock.explain.block import Observed

MAX_LOOKS: Final = 250
"""Contexts looked at on the loop's thread per block."""

AT_ONCE: Final = 8
"""Requests between two looks at the clock."""


When: TypeAlias = "tuple[float, float, Set[int]]"
"""A culprit's start, end and own traces."""


TIMES_FOR_REST: Final = 1.7
"""So much of the budget may go again into setting aside those who are told elsewhere: one who is not set
aside is not even counted."""


class Culprit(NamedTuple):
    """The callback that others waited for."""

    observed: Observed
    """Its longest stretch: that one names it."""
    started_s: float
    """``perf_counter`` at the callback's start."""
    ended_s: float
    span: Any
    """That of the request that blocked, or an invalid one."""
    carrier: SpanContext | None
    """The span on which the block is reported, or that was current; ``None`` for a block that was left out
    of the reports: those that waited for it are left out too, and only counted."""
    traces: Set[int]
    """Its own traces: they do not wait for themselves."""

    @property
    def when(self) -> When:
        """What tells who waited for it."""
        return self.started_s, self.ended_s, self.traces

    def longest_wait(self, due: float | None) -> float:
        """How long something waited at most, in seconds.

        Args:
            due: ``perf_counter`` when it came due; ``None`` where that is not known: it may have been the
                whole callback.
        """
        return self.ended_s - (self.started_s if due is None else max(due, self.started_s))

    def unix_ns(self, at: float) -> int:
        """A ``perf_counter`` time on the wall clock."""
        return self.observed.started_unix_ns + int((at - self.observed.began) * 1e9)


Victim: TypeAlias = "tuple[Any, Any, float | None, int]"
"""A request that waited: the innermost recording span of the context that waited, the span of the request,
``perf_counter`` when it came due, its trace. A plain tuple, like what it is made of."""

Record = Callable[[Any, float], None]
"""Records one request's delay, in seconds, given its span."""
Finish = Callable[[int, Callable[[], Iterator[None]]], None]
"""Has so many recorded on another thread, in steps."""
Annotate = Callable[[list[Victim]], None]
"""Gives requests their events."""


class Prefetched(NamedTuple):
    """What was read of the requests that timers are of, while a callback ran."""

    contexts: Mapping[int, tuple[PythonContext, Any, Any, Any, int]] = {}
    """By the id of a context: it, what OpenTelemetry keeps in it, the innermost span there, that one's local
    root, and its trace."""
    due: Sequence[float] = ()
    """When each request's first timer comes due, in order."""
    roots: Sequence[int] = ()
    """Ids of their local roots, in the same order."""
    traces: Mapping[int, Set[int]] = {}
    """Ids of local roots by their trace."""

    def waited_for(self, when: When) -> set[int]:
        """Ids of the local roots of those who waited for a callback."""
        waited = set(self.roots[: bisect_right(self.due, when[1] - SHORTEST_S)])
        for trace_id in when[2]:
            waited -= self.traces.get(trace_id, _NOBODY)
        return waited


_NOBODY: Final[Set[int]] = frozenset()


def prefetch(timers: Iterable[Upcoming]) -> Prefetched:
    """Read the requests that timers are of, while these wait. On any thread.

    Whether that is still what the context holds, and whether the span still records, is asked later.
    """
    carrier = variable()
    contexts: dict[int, tuple[PythonContext, Any, Any, Any, int]] = {}
    first_due: dict[int, float] = {}
    traces: dict[int, set[int]] = {}
    if carrier is None:
        return Prefetched()
    for _, context, due, _ in islice(timers, MAX_LOOKS):
        carried = context.get(carrier)
        span = get_current_span(carried) if carried is not None else None
        if span is not None and span.is_recording():
            root, trace_id = local_root(span), span.get_span_context().trace_id
            contexts[id(context)] = context, carried, span, root, trace_id
            first_due[id(root)] = min(due, first_due.get(id(root), due))
            traces.setdefault(trace_id, set()).add(id(root))
    roots = sorted(first_due, key=lambda root: first_due[root])
    return Prefetched(contexts, [first_due[root] for root in roots], roots, traces)


class Victims:
    """The requests that one callback made wait: found first, annotated once the block has its record.

    Args:
        maximum: how many get an event.
        budget_s: CPU seconds of the loop's thread for all of this; those not reached in that time, but for
            the first few, are recorded only; in as much time again the rest is set aside for that.
        spend: is told of CPU seconds used on the loop's thread.
        annotate: makes, for a culprit, what gives it to them.
        finish: is called with what is left to do on another thread.
        record: makes, for a culprit, what is called for each of them then.
        prefetched: what has been read of them before.
    """

    __slots__ = (
        "_annotate",
        "_arriving",
        "_budget_of_rest_s",
        "_budget_s",
        "_carrier",
        "_culprit",
        "_finish",
        "_found",
        "_known",
        "_left",
        "_looks",
        "_make_annotate",
        "_make_record",
        "_prefetched",
        "_rest",
        "_spend",
        "_told",
        "_when",
    )

    def __init__(
        self,
        maximum: int,
        budget_s: float,
        spend: Callable[[float], None],
        annotate: Callable[[Culprit], Annotate],
        finish: Finish,
        record: Callable[[Culprit], Record],
        prefetched: Prefetched | None = None,
    ) -> None:
        self._prefetched = prefetched or Prefetched()
        self._left = maximum
        self._budget_s = budget_s
        self._budget_of_rest_s = TIMES_FOR_REST * budget_s
        self._spend = spend
        self._make_annotate = annotate
        self._annotate: Annotate | None = None
        self._finish = finish
        self._make_record = record
        self._found: dict[int, Victim] = {}
        self._carrier = variable()
        self._known: dict[int, object] = {}
        self._rest: list[tuple[PythonContext, float | None]] = []
        self._arriving: set[Any] = set()
        self._looks = 0
        self._told = 0
        self._culprit: Culprit | None = None
        self._when: When | None = None

    def look(self, waiting: Iterator[Waiting]) -> list[Victim]:
        """Find the requests among what waits.

        Returns:
            Those that were not known yet.
        """
        found: list[Victim] = []
        known, carrier, looks = self._known, self._carrier, self._looks
        prefetched, found_before = self._prefetched.contexts, self._found
        # What was left unseen may belong to what is seen now: a sleep to the task that it wakes.
        if carrier is None or self._budget_of_rest_s <= 0.0:
            return found
        first = next(waiting, None)
        if first is None:  # as most often: then nothing is worth a look at the clock
            return found
        began = thread_time()
        until = began + self._budget_s
        set_aside_s = 0.0
        for context, task, due in chain((first,), waiting):
            looks += 1
            carried = context.get(carrier)
            read = prefetched.get(id(context))
            if read is not None and read[1] is carried and read[2].is_recording():
                _, _, span, root, trace_id = read
                if id(root) not in found_before:
                    victim = found_before[id(root)] = span, root, due, trace_id
                    found.append(victim)
            # The same request may be met again: as another callback, in a copy of the same context.
            elif id(carried) not in known:
                added = self._add(carried, task, due)
                if added is not None:
                    known[id(carried)] = carried
                    found.append(added)
            if looks >= MAX_LOOKS or (looks % AT_ONCE == 0 and thread_time() >= until):
                set_aside_s = self._set_aside(waiting)
                break
        self._looks = looks
        took_s = thread_time() - began
        self._budget_s -= took_s - set_aside_s
        self._spend(took_s)
        return found

    def _set_aside(self, waiting: Iterator[Waiting]) -> float:
        """Keep what tells of these requests later, as long as there is time; the seconds that it took."""
        began = thread_time()
        until = began + self._budget_of_rest_s
        # A task's context tells of its request until it runs on: a copy tells later, too.
        while chunk := [(context.copy(), due) for context, _, due in islice(waiting, AT_ONCE)]:
            self._rest += chunk
            if thread_time() >= until:
                break
        took_s = thread_time() - began
        self._budget_of_rest_s -= took_s
        return took_s

    def count(self) -> int:
        """How many are known by now. On any thread."""
        when, found = self._when, list(self._found.values())
        if when is None or not (found or self._prefetched.due):
            return 0
        # Timers that are due, but not yet where :meth:`look` looks, count as well.
        roots = self._prefetched.waited_for(when)
        roots.update(id(victim[1]) for victim in _who_waited_for(when, found))
        return len(roots)

    def expect(self, when: When) -> None:
        """Have :meth:`count` tell of those known so far, before the block has its record.

        Args:
            when: start, end so far, and traces of the culprit.
        """
        self._when = when

    def charge(self, seconds: float) -> None:
        """Take CPU seconds that the block itself has cost the loop's thread from what there is for them."""
        self._budget_s -= seconds
        self._spend(seconds)

    def blame(self, culprit: Culprit) -> None:
        """Annotate those found so far: the block has ended, and this is its record."""
        self._culprit, self._when = culprit, culprit.when
        self._take(list(self._found.values()), culprit)

    # -- told by the aftermath ------------------------------------------------------------------

    def waited(self, waiting: Iterator[Waiting]) -> None:
        """More that had to wait."""
        self._arriving = set()
        found = self.look(waiting)
        if self._culprit is not None:
            self._take(found, self._culprit)

    def span_started(self, span: Any, task: Any) -> None:
        """A local root has started: that of a request that arrived meanwhile, if its task was late."""
        if task not in self._arriving or self._culprit is None:
            return
        if span.is_recording() and getattr(span, "kind", None) in (SpanKind.SERVER, SpanKind.CONSUMER):
            self._arriving.discard(task)
            victim = self._found[id(span)] = span, span, None, span.get_span_context().trace_id
            if self._told < AT_ONCE or (self._left > 0 and self._budget_s > 0.0):
                self._take([victim], self._culprit)

    def ended(self) -> None:
        """There are no more: what is left can be done elsewhere."""
        self._arriving = set()
        culprit = self._culprit
        if culprit is not None and (self._found or self._rest):
            self._finish(len(self._found) + len(self._rest), lambda: self._record_all(culprit))
        # The block's record counts with this object: no circle of the two is left to the collector.
        self._culprit = self._annotate = None

    # -------------------------------------------------------------------------------------------

    def _add(
        self,
        carried: Context | None,
        task: asyncio.Task[Any] | None,
        due: float | None,
        since_unix_ns: int | None = None,
    ) -> Victim | None:
        span = _recording(carried, since_unix_ns) if carried is not None else None
        if span is None:
            if task is not None:
                self._arriving.add(task)
            return None
        root = local_root(span)
        if id(root) in self._found:
            return None
        victim = self._found[id(root)] = span, root, due, span.get_span_context().trace_id
        return victim

    def _take(self, found: list[Victim], culprit: Culprit) -> None:
        if culprit.carrier is None or not found:
            return
        chosen = _who_waited_for(culprit.when, found)[: self._left]
        if not chosen:
            return
        began = thread_time()
        annotate = self._annotate
        if annotate is None:
            annotate = self._annotate = self._make_annotate(culprit)
        for first in range(0, len(chosen), AT_ONCE):
            if self._told >= AT_ONCE and thread_time() - began >= self._budget_s:
                break
            some = chosen[first : first + AT_ONCE]
            annotate(some)
            self._told += len(some)
        self._left -= len(chosen)
        took_s = thread_time() - began
        self._budget_s -= took_s
        self._spend(took_s)

    def _record_all(self, culprit: Culprit) -> Iterator[None]:
        record = self._make_record(culprit)
        # By now those who waited may have ended, which they had not when the block did.
        since_unix_ns = culprit.unix_ns(culprit.ended_s)
        for number, (waited, due) in enumerate(self._rest):
            if number % AT_ONCE == 0:
                yield
            if self._carrier is not None:
                self._add(waited.get(self._carrier), None, due, since_unix_ns)
        for number, (_, root, due, _) in enumerate(_who_waited_for(culprit.when, list(self._found.values()))):
            if number % AT_ONCE == 0:
                yield
            record(root, culprit.longest_wait(due))


def _who_waited_for(when: When, found: list[Victim]) -> list[Victim]:
    started_s, ended_s, traces = when
    latest = ended_s - SHORTEST_S
    if started_s > latest:
        return []
    return [
        victim for victim in found if (victim[2] is None or victim[2] <= latest) and victim[3] not in traces
    ]


def _recording(carried: Context, since_unix_ns: int | None = None) -> Any:
    """The innermost span of a context that records, or has ended since then only; ``None`` without one."""
    span = get_current_span(carried)
    if span.is_recording():
        return span
    for each in (span, local_root(span)):
        if each.is_recording():
            return each
        ended_unix_ns = getattr(each, "end_time", None)
        if since_unix_ns is not None and ended_unix_ns is not None and ended_unix_ns >= since_unix_ns:
            return each
    return None
