"""Puts a block where the user will find it: an event on a span, a span, a log event, a line in the log.

On the loop's thread happens only what cannot wait: the event on a span that is about to end, as yet without
attributes. All else is deferred, to the thread on which the block is explained, too.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Callable
from typing import Any

from opentelemetry import context, trace
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.trace import Span, SpanContext, Tracer

from otel_loopblock.clocks import perf_counter
from otel_loopblock.config import Config
from otel_loopblock.emit import attributes, scope, words
from otel_loopblock.emit.attributes import Value
from otel_loopblock.emit.context import is_valid, parent_for, route_and_name
from otel_loopblock.emit.events import add_event
from otel_loopblock.emit.late import LateAttributes
from otel_loopblock.emit.limits import Interval, Rate
from otel_loopblock.emit.metrics import Instruments
from otel_loopblock.explain.block import Block, Observed
from otel_loopblock.explain.stack import Stacks

_logger = logging.getLogger("otel_loopblock")

EVENTS_ON_SPAN = "_loopblock_events"
"""Where a span keeps how many of our events it carries."""


class Reports:
    """Reports blocks, in the form that is configured.

    Args:
        config: the options.
        defer: has work done on another thread than the loop's.
        stacks: renders stacks.
        instruments: counts what is left out.
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
        tracer: Tracer,
        logger_provider: LoggerProvider | None,
    ) -> None:
        self._defer = defer
        self._stacks = stacks
        self._instruments = instruments
        self._tracer = tracer
        self._logger_provider = logger_provider
        self._max_events_per_span = config.max_events_per_span
        self._as_event = config.report in ("event", "all")
        self._as_span = config.report in ("span", "all")
        self._as_log_event = config.report in ("log", "all")
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
        if self.is_ignored(observed) or not self._may_report():
            return None
        late = self._attributes(observed)
        if self._as_event and takes_event:
            count = getattr(span, EVENTS_ON_SPAN, 0)
            if count < self._max_events_per_span:
                add_event(span, attributes.BLOCKED, late, observed.started_unix_ns)
                setattr(span, EVENTS_ON_SPAN, count + 1)
            else:
                self._instruments.suppressed.add(1)
        own_span = self._as_span or (self._as_event and not takes_event)
        # Without a trace there is nothing else that the requests which waited could be linked to.
        opened = self._start_span(observed, None) if own_span and not is_valid(span) else None

        def later() -> None:
            if opened is not None:
                self._end_span(opened, observed, late)
            elif own_span:
                parent = (
                    trace.set_span_in_context(span, context.Context())
                    if takes_event
                    else parent_for(span, observed.started_unix_ns)
                )
                self._end_span(self._start_span(observed, parent), observed, late)
            if self._as_log_event:
                self._emit_log_event(observed, span, late)
            self._write_line(observed.block, span)

        self._defer(later)
        return opened.get_span_context() if opened is not None else span.get_span_context()

    def add_ongoing(self, span: Span, observed: Observed) -> None:
        """Report a callback that still runs; on the watchdog's thread, which must not export.

        Args:
            span: the one that was seen to be current, or an invalid one.
            observed: the callback up to now.
        """
        if self.is_ignored(observed) or not self._may_report():
            return
        late = self._attributes(observed)

        def later() -> None:
            # Its span will not end before the block does, if ever: only what is sent on its own is seen now.
            if self._as_event or self._as_span:
                parent = parent_for(span, observed.started_unix_ns)
                self._end_span(self._start_span(observed, parent), observed, late)
            if self._as_log_event:
                self._emit_log_event(observed, span, late)
            self._write_line(observed.block, span)

        self._defer(later)

    def is_ignored(self, observed: Observed) -> bool:
        """Whether the user wants no report of such a block; only that has it explained at once."""
        if self._ignored is None:
            return False
        culprit = observed.block.culprit
        return culprit is not None and self._ignored.match(culprit.function) is not None

    def _may_report(self) -> bool:
        if self._rate.allows(perf_counter()):
            return True
        self._instruments.suppressed.add(1)
        return False

    def _attributes(self, observed: Observed) -> LateAttributes:
        def work() -> dict[str, Value]:
            block = observed.block
            text = self._stacks.text(block.stack, block.leaf_call) if block.stack else None
            count = observed.count_delayed
            return attributes.of_block(block, text, (count() or None) if count is not None else None)

        return LateAttributes(work)

    def _start_span(self, observed: Observed, parent: context.Context | None) -> Span:
        return self._tracer.start_span(
            attributes.BLOCKED,
            context=parent if parent is not None else context.Context(),
            start_time=observed.started_unix_ns,
        )

    def _end_span(self, span: Span, observed: Observed, late: LateAttributes) -> None:
        span.set_attributes(late.read())
        span.end(observed.ended_unix_ns)

    def _emit_log_event(self, observed: Observed, span: Span, late: LateAttributes) -> None:
        scope.logger(self._logger_provider).emit(
            LogRecord(
                timestamp=observed.started_unix_ns,
                context=trace.set_span_in_context(span, context.Context()),
                severity_number=SeverityNumber.WARN if observed.block.phase is None else SeverityNumber.INFO,
                severity_text="WARN" if observed.block.phase is None else "INFO",
                event_name=attributes.BLOCKED,
                body=words.line(observed.block, None),
                attributes=dict(late.read()),
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
