"""What the telemetry that was received says: the blocks, who had to wait, traces, the culprits.

Pure functions and frozen records; nothing here prints, or knows what was expected.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from opentelemetry.semconv.attributes.code_attributes import (
    CODE_FILE_PATH,
    CODE_FUNCTION_NAME,
    CODE_LINE_NUMBER,
    CODE_STACKTRACE,
)

from otel_loopblock.emit import attributes as names
from otel_loopblock.local.statistics import quantile
from otel_loopblock.local.telemetry import Attributes, Event, Span


@dataclass(frozen=True, slots=True)
class BlockSeen:
    """One ``event_loop.blocked``, an event or a span of its own."""

    span: Span
    """The span that carries the event, or the span that the block became."""
    started_unix_ns: int
    attributes: Attributes = field(repr=False)

    @property
    def duration_s(self) -> float:
        """How long the loop was blocked, in seconds."""
        return float(self.attributes[names.DURATION])

    @property
    def ended_unix_ns(self) -> int:
        """When it was free again."""
        return self.started_unix_ns + int(self.duration_s * 1e9)

    @property
    def function(self) -> str | None:
        """The culprit, fully qualified."""
        return self.attributes.get(CODE_FUNCTION_NAME)

    @property
    def file(self) -> str | None:
        """The culprit's file."""
        return self.attributes.get(CODE_FILE_PATH)

    @property
    def line(self) -> int | None:
        """The culprit's line."""
        return self.attributes.get(CODE_LINE_NUMBER)

    @property
    def call(self) -> str | None:
        """What the culprit called."""
        return self.attributes.get(names.CALL)

    @property
    def cause(self) -> str:
        """Why it blocked."""
        return str(self.attributes[names.CAUSE])

    @property
    def advice(self) -> str | None:
        """What to do instead."""
        return self.attributes.get(names.ADVICE)

    @property
    def delayed_requests(self) -> int:
        """How many it made wait, as far as was known then."""
        return int(self.attributes.get(names.DELAYED_REQUESTS, 0))

    @property
    def stacktrace(self) -> str:
        """The sampled stack; empty where there is none."""
        return str(self.attributes.get(CODE_STACKTRACE, ""))


@dataclass(frozen=True, slots=True)
class DelaySeen:
    """One ``event_loop.delayed``: a request that had to wait."""

    span: Span
    event: Event
    """Its time is the beginning of the wait, but not before the span's."""

    @property
    def delay_s(self) -> float:
        """How long at most, in seconds."""
        return float(self.event.attributes[names.DELAY_MAX])

    @property
    def culprit_trace_id(self) -> str | None:
        """The trace that made it wait."""
        return self.event.attributes.get(names.CULPRIT_TRACE_ID)

    @property
    def culprit_span_id(self) -> str | None:
        """The span that made it wait."""
        return self.event.attributes.get(names.CULPRIT_SPAN_ID)


@dataclass(frozen=True, slots=True)
class Culprit:
    """All blocks of one function."""

    blocks: tuple[BlockSeen, ...]

    @property
    def function(self) -> str | None:
        """Fully qualified; ``None`` where no stack was seen."""
        return self.blocks[0].function

    @property
    def file(self) -> str | None:
        """Its file."""
        return self.blocks[0].file

    @property
    def line(self) -> int | None:
        """The line that was seen most."""
        return Counter(block.line for block in self.blocks).most_common(1)[0][0]

    @property
    def call(self) -> str | None:
        """The call that was seen most."""
        return Counter(block.call for block in self.blocks).most_common(1)[0][0]

    @property
    def causes(self) -> list[tuple[str, int]]:
        """The causes and how often, the commonest first."""
        return Counter(block.cause for block in self.blocks).most_common()

    @property
    def delayed_requests(self) -> int:
        """How many they made wait."""
        return sum(block.delayed_requests for block in self.blocks)

    @property
    def total_s(self) -> float:
        """Time for which it blocked the loop, in seconds."""
        return sum(block.duration_s for block in self.blocks)

    def duration_s(self, share: float) -> float:
        """A quantile of the durations, in seconds."""
        return quantile([block.duration_s for block in self.blocks], share)


@dataclass(frozen=True, slots=True)
class Row:
    """A span of a trace and how deep it lies."""

    span: Span
    depth: int


class Findings:
    """The spans received, searchable.

    Args:
        spans: all of them, in any order.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans

    @cached_property
    def blocks(self) -> list[BlockSeen]:
        """All blocks, by time."""
        details = self._details
        found = [
            BlockSeen(
                span, event.time_unix_ns, details[key].attributes if key in details else event.attributes
            )
            for span in self.spans
            for event in span.events_named(names.BLOCKED)
            for key in ((span.trace_id, span.span_id, event.time_unix_ns),)
        ]
        found += [
            BlockSeen(span, span.start_unix_ns, span.attributes)
            for span in self.spans
            if _is_own(span) and not self._is_told_by_event(span)
        ]
        return sorted(found, key=lambda block: block.started_unix_ns)

    @cached_property
    def _details(self) -> dict[tuple[str, str | None, int], Span]:
        """The spans that blocks became, by the span that blocked and the start."""
        return {
            (span.trace_id, span.parent_span_id, span.start_unix_ns): span
            for span in self.spans
            if _is_own(span)
        }

    @cached_property
    def _events(self) -> set[tuple[str, str | None, int]]:
        return {
            (span.trace_id, span.span_id, event.time_unix_ns)
            for span in self.spans
            for event in span.events_named(names.BLOCKED)
        }

    def _is_told_by_event(self, span: Span) -> bool:
        """Whether a span of ours says in full what an event on its parent says in short."""
        return _is_own(span) and (span.trace_id, span.parent_span_id, span.start_unix_ns) in self._events

    @cached_property
    def delays(self) -> list[DelaySeen]:
        """All that had to wait, in the order of arrival."""
        return [DelaySeen(span, event) for span in self.spans for event in span.events_named(names.DELAYED)]

    @cached_property
    def _traces(self) -> dict[str, list[Span]]:
        traces: defaultdict[str, list[Span]] = defaultdict(list)
        for span in self.spans:
            traces[span.trace_id].append(span)
        return dict(traces)

    def trace(self, trace_id: str) -> list[Row]:
        """The spans of a trace, each below its parent, siblings by time; empty if there is none such.

        Those that blocks became are left out where an event tells of the block.
        """
        spans = sorted(
            (span for span in self._traces.get(trace_id, ()) if not self._is_told_by_event(span)),
            key=lambda span: span.start_unix_ns,
        )
        ids = {span.span_id for span in spans}
        children: defaultdict[str | None, list[Span]] = defaultdict(list)
        for span in spans:
            children[span.parent_span_id if span.parent_span_id in ids else None].append(span)

        def below(parent: str | None, depth: int) -> Iterator[Row]:
            for span in children[parent]:
                yield Row(span, depth)
                yield from below(span.span_id, depth + 1)

        return list(below(None, 0))

    def root(self, trace_id: str) -> Span | None:
        """The SERVER span of a trace."""
        return next((span for span in self._traces.get(trace_id, ()) if span.kind == "SERVER"), None)

    def route(self, trace_id: str) -> str | None:
        """The ``http.route`` of a trace's request; ``None`` where no request is known."""
        root = self.root(trace_id)
        return None if root is None else root.attributes.get(names.HTTP_ROUTE)

    def culprit_of(self, delay: DelaySeen) -> BlockSeen | None:
        """The block that made somebody wait: of its culprit's trace, the one nearest to the wait."""
        at = delay.event.time_unix_ns

        def distance(block: BlockSeen) -> int:
            return max(block.started_unix_ns - at, at - block.ended_unix_ns, 0)

        candidates = [block for block in self.blocks if block.span.trace_id == delay.culprit_trace_id]
        return min(candidates, key=distance, default=None)

    def is_linked(self, delay: DelaySeen) -> bool:
        """Whether a span of the delayed request's trace has a link to the culprit's span."""
        return any(
            (link.trace_id, link.span_id) == (delay.culprit_trace_id, delay.culprit_span_id)
            for span in self._traces.get(delay.span.trace_id, ())
            for link in span.links
        )


def _is_own(span: Span) -> bool:
    return span.name == names.BLOCKED and names.DURATION in span.attributes


def culprits(blocks: Iterable[BlockSeen]) -> list[Culprit]:
    """The blocks by function, the one that cost most time first."""
    by_function: defaultdict[str | None, list[BlockSeen]] = defaultdict(list)
    for block in blocks:
        by_function[block.function].append(block)
    found = [Culprit(tuple(blocks)) for blocks in by_function.values()]
    return sorted(found, key=lambda culprit: culprit.total_s, reverse=True)
