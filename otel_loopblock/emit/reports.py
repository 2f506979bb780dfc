"""Puts a block where the user will find it: an event on a span, a span, a log event, a line in the log.

On the loop's thread happens only what cannot wait: the event on a span that is about to end, which is short
where another form says the rest, and the attributes of that span. All else is deferred.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Callable
from typing import Any

from opentelemetry import context, trace
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.trace import Link, Span, SpanContext, Tracer

from otel_loopblock.clocks import perf_counter
from otel_loopblock.config import Config
from otel_loopblock.emit import attributes, scope, words
from otel_loopblock.emit.attributes import Value
from otel_loopblock.emit.context import Place, is_valid, place_under, route_and_name
from otel_loopblock.emit.flush import Flush
from otel_loopblock.emit.limits import Distinct, Interval, Rate
from otel_loopblock.emit.marks import mark_blocked
from otel_loopblock.emit.metrics import Instruments
from otel_loopblock.explain.block import Block, Observed
from otel_loopblock.explain.stack import Stacks
from otel_loopblock.watch.monitor import Monitor

_logger = logging.getLogger("otel_loopblock")

EVENTS_ON_SPAN = "_loopblock_events"
"""Where a span keeps how many of our events it carries."""


class Reports:
    """Reports blocks, in the form that is configured.

    Args:
        config: the options.
        defer: has work done on another thread than the loop's.
        stacks: renders stacks.
        instruments: counts what is left out, and shows what hangs.
        functions: bounds the culprits' names in metrics.
        flush: has what is reported of a hang exported at once.
        tracer: for spans of our own.
        logger_provider: for log events.
    """

    def __init__(
        self,
        config: Config,
        defer: Callable[[Callable[[], None]], None],
        *,
        stacks: Stacks,
        instruments: Instruments,
        functions: Distinct,
        flush: Flush,
        tracer: Tracer,
        logger_provider: LoggerProvider | None,
    ) -> None:
        self._defer = defer
        self._stacks = stacks
        self._instruments = instruments
        self._functions = functions
        self._flush = flush
        self._threshold_s = config.threshold_s
        self._tracer = tracer
        self._logger_provider = logger_provider
        self._max_events_per_span = config.max_events_per_span
        self._as_event = "event" in config.report
        self._as_span = "span" in config.report
        self._as_log_event = "log" in config.report
        self.event_says_all = config.report == ("event",)
        self._ignored = (
            re.compile("|".join(fnmatch.translate(pattern) for pattern in config.ignore))
            if config.ignore
            else None
        )
        self._rate = Rate(config.max_events_per_second)
        self._log_interval = Interval(config.log_interval_ms / 1000)

    def add(self, observed: Observed, span: Any, *, takes_event: bool) -> SpanContext | None:
        """Report a stretch that has ended; on the loop's thread.

        Args:
            observed: the stretch.
            span: the one that it is charged to, or else that was current; an invalid one where none was.
            takes_event: whether it is charged to ``span``, which still records.

        Returns:
            The span that leads to the block, which may be one of its own, or an invalid one where there is
            none; ``None`` when it is not reported.
        """
        if self.is_ignored(observed):
            return None
        at_least_ns = 0.0 if takes_event else self._threshold_s * 1e9
        place = place_under(span, observed.started_unix_ns, observed.ended_unix_ns, at_least_ns)
        if place.above is span:
            mark_blocked(span, observed.duration_s)
        if not self.may_report():
            return None
        if self._as_event and takes_event:
            count = getattr(span, EVENTS_ON_SPAN, 0)
            if count < self._max_events_per_span:
                details = self._in_full(observed) if self.event_says_all else _in_short(observed)
                span.add_event(attributes.BLOCKED, details, observed.started_unix_ns)
                setattr(span, EVENTS_ON_SPAN, count + 1)
            else:
                self._instruments.suppressed.add(1)
        own_span = self._as_span or (self._as_event and not takes_event)
        # Without a trace there is nothing else that the requests which waited could be linked to.
        opened = self._open(place, span) if own_span and not is_valid(place.above) else None

        def later() -> None:
            details = self._in_full(observed) if own_span or self._as_log_event else {}
            if own_span:
                _end(opened or self._open(place, span), details, place)
            if self._as_log_event:
                self._emit_log_event(observed, span, details)
            self._write_line(observed.block, span)

        self._defer(later)
        return opened.get_span_context() if opened is not None else span.get_span_context()

    def add_ongoing(self, monitor: Monitor, span: Span, observed: Observed) -> None:
        """Report a callback that still runs; on the watchdog's thread, which must not export.

        Args:
            monitor: of its loop.
            span: the one that was seen to be current, or an invalid one.
            observed: the callback up to now.
        """

        def later() -> None:
            block = observed.block
            if block.function is not None:
                function = self._functions(block.function)
                self._instruments.hangs(monitor, observed.began, function)
            if self.is_ignored(observed) or not self.may_report():
                return
            details = self._in_full(observed)
            # Its span will not end before the block does, if ever: only what is sent on its own is seen now.
            if self._as_event or self._as_span:
                started_unix_ns, ended_unix_ns = observed.started_unix_ns, observed.ended_unix_ns
                place = place_under(span, started_unix_ns, ended_unix_ns, self._threshold_s * 1e9)
                _end(self._open(place, span), details, place)
            if self._as_log_event:
                self._emit_log_event(observed, span, details)
            self._write_line(block, span)
            self._flush()

        self._defer(later)

    def is_ignored(self, observed: Observed) -> bool:
        """Whether the user wants no report of such a block; only that has it explained at once."""
        if self._ignored is None:
            return False
        culprit = observed.gist.culprit
        return culprit is not None and self._ignored.match(culprit.function) is not None

    def may_report(self) -> bool:
        """Whether one more report may go out; counts it where not."""
        if self._rate.allows(perf_counter()):
            return True
        self._instruments.suppressed.add(1)
        return False

    def _in_full(self, observed: Observed) -> dict[str, Value]:
        block = observed.block
        text = self._stacks.text(block.stack, block.leaf_call) if block.stack else None
        return attributes.of_block(block, text, _delayed(observed))

    def _open(self, place: Place, span: Span) -> Span:
        """Start a span at its place; one that is not below ``span``, and has no parent, has a link to it."""
        alone = not is_valid(place.above)
        return self._tracer.start_span(
            attributes.BLOCKED,
            context=trace.set_span_in_context(place.above, context.Context()),
            links=[Link(span.get_span_context())] if alone and is_valid(span) else None,
            start_time=place.started_unix_ns,
        )

    def _emit_log_event(self, observed: Observed, span: Span, details: dict[str, Value]) -> None:
        scope.logger(self._logger_provider).emit(
            LogRecord(
                timestamp=observed.started_unix_ns,
                context=trace.set_span_in_context(span, context.Context()),
                severity_number=SeverityNumber.WARN if observed.block.phase is None else SeverityNumber.INFO,
                severity_text="WARN" if observed.block.phase is None else "INFO",
                event_name=attributes.BLOCKED,
                body=words.line(observed.block, None),
                attributes=details,
            )
        )

    def _write_line(self, block: Block, span: Span) -> None:
        culprit = block.culprit
        key = (culprit.function, culprit.line) if culprit is not None else None
        if not block.ongoing and not self._log_interval.allows(key, perf_counter()):
            return
        request = route_and_name(span)[1]
        token = context.attach(trace.set_span_in_context(span))  # for handlers that log the trace id
        try:
            # Nobody waits for a server that starts.
            level = logging.WARNING if block.phase is None else logging.INFO
            _logger.log(level, "%s", words.line(block, request))
        finally:
            context.detach(token)


def _end(span: Span, details: dict[str, Value], place: Place) -> None:
    span.set_attributes({attributes.BLOCKED: True, **details})
    span.end(place.ended_unix_ns)


def _in_short(observed: Observed) -> dict[str, Value]:
    return attributes.in_short(observed.gist, observed.duration_s, _delayed(observed))


def _delayed(observed: Observed) -> int | None:
    """How many requests it is known to have made wait by now; ``None`` for none."""
    count = observed.count_delayed
    return (count() or None) if count is not None else None
