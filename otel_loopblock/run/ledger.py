"""What is known of the service's blocks so far: by culprit, by route, the lag; everything bounded.

Reports of single blocks (events and spans) have the line, the stack, the advice. They may be limited in
number, metrics are not: counts and sums are those of the metrics wherever these are ahead.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from opentelemetry.semconv.attributes.code_attributes import (
    CODE_FILE_PATH,
    CODE_FUNCTION_NAME,
    CODE_LINE_NUMBER,
    CODE_STACKTRACE,
)

from otel_loopblock.emit import attributes as names
from otel_loopblock.local.statistics import Histogram, quantile
from otel_loopblock.local.telemetry import Attributes, Metric, Point, Span
from otel_loopblock.naming import printable
from otel_loopblock.run.flame import Flame

MAX_CULPRITS = 300
"""Functions; blocks of more are counted as of one without a name."""
MAX_POINTS = 3000
"""Of one metric of one process."""
MAX_DURATIONS = 1000
"""Of one culprit, the latest, for its quantiles."""
MAX_PLACES = 20
"""Lines, calls and causes of one culprit that are counted."""
MAX_SPANS = 4000
"""Spans of which it is remembered that they carry a block: it may be told a second time, in another form."""
MAX_PROCESSES = 32
"""Whose metrics are kept apart; those of others, the eldest first, are one sum."""
SAME_BLOCK_NS = 5_000_000
"""Two reports of one span that begin within so little are of the same block."""
LAG_WINDOW = 4
"""Exports that the lag *now* is told from."""
HEARD_S = 5.0
"""A process that has said nothing for so long says nothing of now."""

LAG, BLOCK, DELAY = "event_loop.lag", "event_loop.block.duration", "event_loop.delay.duration"


@dataclass(slots=True)
class Block:
    """One block."""

    function: str | None
    started_unix_ns: int
    duration_s: float
    ongoing: bool
    """Whether it was last told of while it lasted."""
    attributes: Attributes = field(repr=False)
    told_by: str = ""
    """``span`` or ``event``."""
    drawn_s: float = 0.0
    """What of it is in the flame graph."""

    @property
    def cause(self) -> str:
        """Why it blocked."""
        return str(self.attributes.get(names.CAUSE, "unknown"))

    @property
    def call(self) -> str | None:
        """What the culprit called."""
        call = self.attributes.get(names.CALL)
        return None if call is None else str(call)

    @property
    def place(self) -> str | None:
        """``file:line`` of the culprit, the file with its path."""
        file = self.attributes.get(CODE_FILE_PATH)
        return None if file is None else f"{file}:{self.attributes.get(CODE_LINE_NUMBER, 0)}"

    @property
    def advice(self) -> str | None:
        """What to do instead."""
        advice = self.attributes.get(names.ADVICE)
        return None if advice is None else str(advice)


@dataclass(slots=True)
class Sum:
    """Count, sum and greatest of durations, in seconds."""

    count: int = 0
    total_s: float = 0.0
    max_s: float = 0.0

    def add(self, other: Sum) -> None:
        """Add another one."""
        self.count += other.count
        self.total_s += other.total_s
        self.max_s = max(self.max_s, other.max_s)


Sums = dict[str | None, Sum]


class Told:
    """What single reports say of one culprit."""

    def __init__(self) -> None:
        self.count = 0
        self.durations_s: deque[float] = deque(maxlen=MAX_DURATIONS)
        self.total_s = 0.0
        self.max_s = 0.0
        self.places: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.advice: Counter[str] = Counter()

    def add(self, block: Block) -> None:
        """Count a block."""
        self.count += 1
        self.longer(0.0, block.duration_s)
        for counter, value in (
            (self.places, block.place),
            (self.calls, block.call),
            (self.causes, block.cause),
            (self.advice, block.advice),
        ):
            if value is not None and (value in counter or len(counter) < MAX_PLACES):
                counter[value] += 1

    def longer(self, before_s: float, duration_s: float) -> None:
        """A block that was known to last so long lasted longer."""
        if before_s:
            try:
                self.durations_s.remove(before_s)
            except ValueError:  # it is too long ago
                return
        self.durations_s.append(duration_s)
        self.total_s += duration_s - before_s
        self.max_s = max(self.max_s, duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """All that is known of the blocks of one function; durations in seconds."""

    function: str | None
    """``None`` where no stack was seen."""
    place: str | None
    """``file:line`` that was seen most; ``None`` where only metrics tell of it."""
    call: str | None
    causes: tuple[tuple[str, int], ...]
    """The commonest first."""
    count: int
    total_s: float
    p50_s: float | None
    p99_s: float | None
    max_s: float
    delayed: int
    """Requests that waited for it, of those that are told."""
    taken_s: float
    """Time that it took from them, in all."""
    advice: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What the requests of one route had to wait for others."""

    route: str | None
    delayed: int
    waited_s: float
    max_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that is known at one moment."""

    culprits: tuple[Culprit, ...]
    """The one that cost most time first."""
    routes: tuple[Route, ...]
    """The one that waited most first."""
    lag: Histogram | None
    """``None`` where no loop was seen to run."""
    last: Block | None
    worst: Block | None
    longest_s: float
    """Of the blocks that the code is to blame for; 0: there was none."""
    blocks: int
    blocked_s: float
    processes: int
    """Python processes of the service that have said they are there."""


class _Process:
    """The metrics of one process, as it exported them last."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[str | None, str], Sum] = {}
        self.delays: Sums = {}
        self.waits: Sums = {}
        self.lag: Histogram | None = None
        self.lags: deque[Histogram] = deque(maxlen=LAG_WINDOW)
        self.ongoing_s = 0.0
        self.longest_s = 0.0
        self.heard = time.monotonic()


class Ledger:
    """Books what the service says; the caller sees to it that one thread at a time does."""

    def __init__(self) -> None:
        self.flame = Flame()
        self.threshold_s: float | None = None
        """Of the blocks, once there was one."""
        self._told: dict[str | None, Told] = {}
        self._blocks: OrderedDict[tuple[str, str], list[Block]] = OrderedDict()
        self._processes: OrderedDict[str, _Process] = OrderedDict()
        self._seen_processes: set[str] = set()
        self._past = _Process()
        self._last: Block | None = None
        self._worst: Block | None = None
        self._longest_s = 0.0

    # -- what comes in ----------------------------------------------------------------------------

    def add_process(self, sender: str) -> None:
        """A Python process of the service has started."""
        if len(self._seen_processes) < 10_000:
            self._seen_processes.add(sender)

    def add_span(self, span: Span) -> Iterator[Block]:
        """Book the blocks that a span tells of; gives them."""
        if span.name == names.BLOCKED and names.DURATION in span.attributes:
            yield self._add_block(
                (span.trace_id, span.parent_span_id) if span.parent_span_id else ("", ""),
                span.start_unix_ns,
                span.attributes,
                "span",
            )
        for event in span.events_named(names.BLOCKED):
            if names.DURATION in event.attributes:
                yield self._add_block(
                    (span.trace_id, span.span_id), event.time_unix_ns, event.attributes, "event"
                )

    def delays_of(self, span: Span) -> Iterator[tuple[float, str | None]]:
        """How long a span waited, and for which trace."""
        for event in span.events_named(names.DELAYED):
            trace = event.attributes.get(names.CULPRIT_TRACE_ID)
            waited = event.attributes.get(names.DELAY_MAX, 0.0)
            yield float(waited), str(trace) if trace is not None else None

    def _add_block(
        self, carrier: tuple[str, str], started_unix_ns: int, attributes: Attributes, told_by: str
    ) -> Block:
        duration_s = float(attributes[names.DURATION])
        ongoing = bool(attributes.get(names.ONGOING, False))
        function = attributes.get(CODE_FUNCTION_NAME)
        if names.THRESHOLD in attributes:
            self.threshold_s = float(attributes[names.THRESHOLD])
        without_stack = {name: value for name, value in attributes.items() if name != CODE_STACKTRACE}
        siblings = self._blocks.setdefault(carrier, [])
        self._blocks.move_to_end(carrier)
        block = next(
            (
                known
                for known in siblings
                if abs(known.started_unix_ns - started_unix_ns) <= SAME_BLOCK_NS
                and (known.ongoing or ongoing or known.told_by != told_by)
            ),
            None,
        )
        if block is None:
            block = Block(
                function=None if function is None else printable(str(function)),
                started_unix_ns=started_unix_ns,
                duration_s=duration_s,
                ongoing=ongoing,
                attributes=without_stack,
                told_by=told_by,
            )
            siblings.append(block)
            del siblings[:-64]
            while len(self._blocks) > MAX_SPANS:
                self._blocks.popitem(last=False)
            if block.function not in self._told and len(self._told) >= MAX_CULPRITS:
                block.function = None
            self._told.setdefault(block.function, Told()).add(block)
            self._last = block
        else:
            if duration_s > block.duration_s:
                self._told[block.function].longer(block.duration_s, duration_s)
                block.duration_s = duration_s
            block.ongoing = block.ongoing and ongoing
            if len(without_stack) > len(block.attributes):
                block.attributes = without_stack
        if _is_to_blame(attributes):
            self._longest_s = max(self._longest_s, duration_s)
        stack = attributes.get(CODE_STACKTRACE)
        if stack is not None and block.duration_s > block.drawn_s:
            self.flame.add(str(stack), block.duration_s - block.drawn_s)
            block.drawn_s = block.duration_s
        if self._worst is None or block.duration_s > self._worst.duration_s:
            self._worst = block
        return block

    def add_metrics(self, sender: str, metrics: Sequence[Metric]) -> None:
        """Book what a process exported: sums since its start."""
        process = self._processes.get(sender)
        by_name = {metric.name: metric.points for metric in metrics}
        lag = _lag(by_name.get(LAG, ()))
        before = process.lag if process is not None else None
        if before is not None and lag is not None and lag.count < before.count:
            self._retire(sender)  # it was another process with the same number
            process = None
        if process is None:
            process = self._processes[sender] = _Process()
            while len(self._processes) > MAX_PROCESSES:
                self._retire(next(iter(self._processes)))
        process.heard = time.monotonic()
        process.blocks = {}
        for point in by_name.get(BLOCK, ())[:MAX_POINTS]:
            function = _text(point.attributes.get(CODE_FUNCTION_NAME))
            cause = str(point.attributes.get(names.CAUSE, "unknown"))
            process.blocks.setdefault((function, cause), Sum()).add(_sum(point))
            if _is_to_blame(point.attributes):
                process.longest_s = max(process.longest_s, point.max or 0.0)
        process.delays, process.waits = {}, {}
        for point in by_name.get(DELAY, ())[:MAX_POINTS]:
            function = _text(point.attributes.get(CODE_FUNCTION_NAME))
            route = _text(point.attributes.get(names.HTTP_ROUTE))
            process.delays.setdefault(function, Sum()).add(_sum(point))
            process.waits.setdefault(route, Sum()).add(_sum(point))
        if lag is not None:
            process.lag = lag
            process.lags.append(lag)
        ongoing = [float(point.value or 0.0) for point in by_name.get("event_loop.block.ongoing", ())]
        process.ongoing_s = max(ongoing, default=0.0)

    def _retire(self, sender: str) -> None:
        """Add what a process said to what is past."""
        process = self._processes.pop(sender)
        for key, found in process.blocks.items():
            if key in self._past.blocks or len(self._past.blocks) < MAX_POINTS:
                self._past.blocks.setdefault(key, Sum()).add(found)
        for past, sums in ((self._past.delays, process.delays), (self._past.waits, process.waits)):
            for name, found in sums.items():
                if name in past or len(past) < MAX_POINTS:
                    past.setdefault(name, Sum()).add(found)
        self._past.longest_s = max(self._past.longest_s, process.longest_s)
        self._past.lag = _added(self._past.lag, process.lag)

    # -- what is known ----------------------------------------------------------------------------

    def found(self, most: int | None = None) -> Found:
        """All that is known now.

        Args:
            most: culprits whose quantiles are worked out; ``None``: all.
        """
        counted: dict[str | None, Sum] = {}
        causes: dict[str | None, Counter[str]] = {}
        delays: Sums = {}
        waits: Sums = {}
        lag: Histogram | None = None
        for process in (self._past, *self._processes.values()):
            for (function, cause), found in process.blocks.items():
                counted.setdefault(function, Sum()).add(found)
                causes.setdefault(function, Counter())[cause] += found.count
            for total, part in ((delays, process.delays), (waits, process.waits)):
                for name, found in part.items():
                    total.setdefault(name, Sum()).add(found)
            lag = _added(lag, process.lag)
        nothing = Sum()
        ranked = sorted(
            dict.fromkeys((*self._told, *counted)),
            key=lambda function: -self._booked(function, counted.get(function, nothing)).total_s,
        )
        culprits = [
            self._culprit(
                function,
                counted.get(function, nothing),
                causes.get(function, Counter()),
                delays.get(function, nothing),
                with_quantiles=most is None or rank < most,
            )
            for rank, function in enumerate(ranked)
        ]
        routes = [
            Route(route=route, delayed=sum.count, waited_s=sum.total_s, max_s=sum.max_s)
            for route, sum in waits.items()
        ]
        return Found(
            culprits=tuple(culprits),
            routes=tuple(sorted(routes, key=lambda route: -route.waited_s)),
            lag=lag,
            last=self._last,
            worst=self._worst,
            longest_s=max(
                self._longest_s,
                *(process.longest_s for process in (self._past, *self._processes.values())),
            ),
            blocks=sum(culprit.count for culprit in culprits),
            blocked_s=sum(culprit.total_s for culprit in culprits),
            processes=len(self._seen_processes),
        )

    def lag_now(self) -> tuple[float, float] | None:
        """Of the last seconds, over all loops: a bound that 99 % of the lags keep, and the mean.

        Returns:
            ``None`` where no loop has run in these seconds.
        """
        gained: Histogram | None = None
        now = time.monotonic()
        for process in self._processes.values():
            if len(process.lags) < 2 or now - process.heard > HEARD_S:
                continue
            gained = _added(gained, _minus(process.lags[-1], process.lags[0]))
        if gained is None or not gained.count:
            return None
        below, wanted = 0, 0.99 * gained.count
        for bound, count in zip((*gained.bounds, gained.bounds[-1]), gained.counts, strict=True):
            below += count
            if below >= wanted:
                return bound, gained.mean
        raise AssertionError("unreachable")

    def ongoing_s(self) -> float:
        """How long the longest callback that is running now has been over the threshold; 0: none is."""
        now = time.monotonic()
        return max(
            (process.ongoing_s for process in self._processes.values() if now - process.heard <= HEARD_S),
            default=0.0,
        )

    def _booked(self, function: str | None, counted: Sum) -> Sum:
        """What metrics say of a culprit, or what reports say where those are ahead."""
        told = self._told.get(function)
        if told is None or counted.count >= told.count:
            return counted
        return Sum(told.count, told.total_s, told.max_s)

    def _culprit(
        self,
        function: str | None,
        counted: Sum,
        causes: Counter[str],
        delays: Sum,
        *,
        with_quantiles: bool,
    ) -> Culprit:
        told = self._told.get(function) or Told()
        booked = self._booked(function, counted)
        durations = list(told.durations_s) if with_quantiles else []
        return Culprit(
            function=function,
            place=_commonest(told.places),
            call=_commonest(told.calls),
            causes=tuple((causes if booked is counted else told.causes).most_common()),
            count=booked.count,
            total_s=booked.total_s,
            p50_s=quantile(durations, 0.5) if durations else None,
            p99_s=quantile(durations, 0.99) if durations else None,
            max_s=max(counted.max_s, told.max_s),
            delayed=delays.count,
            taken_s=delays.total_s,
            advice=_commonest(told.advice),
        )


def _is_to_blame(attributes: Attributes) -> bool:
    """Whether the code blocked the loop while it served: not the machine, nor what is done at start-up."""
    return attributes.get(names.CAUSE) != "descheduled" and attributes.get(names.PHASE) != "startup"


def _commonest(counter: Counter[str]) -> str | None:
    return counter.most_common(1)[0][0] if counter else None


def _text(value: object) -> str | None:
    return None if value is None else printable(str(value))


def _sum(point: Point) -> Sum:
    return Sum(point.count, point.sum, point.max or 0.0)


def _lag(points: Sequence[Point]) -> Histogram | None:
    """Of all loops of a process; ``None`` where none ran, or where a view made something else of it."""
    lag: Histogram | None = None
    for point in points:
        if point.bounds and len(point.bucket_counts) == len(point.bounds) + 1:
            lag = _added(lag, Histogram(bounds=point.bounds, counts=point.bucket_counts, sum=point.sum))
    return lag


def _added(one: Histogram | None, other: Histogram | None) -> Histogram | None:
    if one is None or other is None:
        return one or other
    if one.bounds != other.bounds:
        return one
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    return Histogram(bounds=one.bounds, counts=counts, sum=one.sum + other.sum)


def _minus(one: Histogram, other: Histogram) -> Histogram:
    counts = tuple(a - b for a, b in zip(one.counts, other.counts, strict=True))
    return Histogram(bounds=one.bounds, counts=counts, sum=one.sum - other.sum)
