"""Tells the requests that a block made wait: an event, a link to who made them wait, a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.trace import Link, Tracer

from otel_loopblock.config import Config
from otel_loopblock.emit import attributes, scope
from otel_loopblock.emit.annotations import Annotations, Delay
from otel_loopblock.emit.context import route_and_name, start_unix_ns
from otel_loopblock.emit.limits import Allowance, Distinct
from otel_loopblock.emit.marks import mark_delayed
from otel_loopblock.emit.metrics import Instruments
from otel_loopblock.emit.victims import Culprit, Prefetched, Record, Victim, Victims
from otel_loopblock.emit.worker import Worker

BUDGET_S: Final = 0.0003
"""CPU seconds of the loop's thread that may go into finding and telling those who waited for a block; or"""
BUDGET_SHARE: Final = 0.02
"""this share of a longer block: what is done about it stays small beside it. What the block's own report has
cost is part of it. Setting the rest aside has a budget of its own."""

SHARE: Final = 0.01
"""Of a loop's time that may go there, however many blocks there are."""
MOST_S: Final = 0.1
"""As much at once: for blocks that are few."""

MAX_BEHIND: Final = 50
"""Work items that wait for the worker's thread, beyond which it is not given the delays of another block."""

DELAYS_ON_SPAN: Final = "_loopblock_delays"
"""Where a span keeps how many of these events it carries."""


class Delays:
    """Emits what is to be said of requests that waited, in the form that is configured.

    Args:
        config: the options.
        worker: does work on another thread than the loop's.
        instruments: the metrics.
        functions: bounds the culprits' names, shared with the metrics of blocks.
        routes: likewise the routes.
        tracer: for spans of our own.
        logger_provider: for log events.
    """

    def __init__(
        self,
        config: Config,
        worker: Worker,
        *,
        instruments: Instruments,
        functions: Distinct,
        routes: Distinct,
        tracer: Tracer,
        logger_provider: LoggerProvider | None,
    ) -> None:
        self._config = config
        self._as_event = "event" in config.report
        self._as_span = "span" in config.report and not self._as_event
        """Of a request that waited an event says it all."""
        self._as_log_event = "log" in config.report
        self._worker = worker
        self._instruments = instruments
        self._functions = functions
        self._routes = routes
        self._tracer = tracer
        self._logger_provider = logger_provider
        self._allowance = Allowance(SHARE, MOST_S)

    def new_victims(
        self, started: float, ended: float, prefetched: Prefetched | None = None
    ) -> Victims | None:
        """Begin to look for the requests that one callback made wait.

        Args:
            started: ``perf_counter`` at its start.
            ended: the same at its end.
            prefetched: what has been read of them while it ran.

        Returns:
            ``None`` where blocks before it have used up the time there is for that.
        """
        left_s = self._allowance.left(ended)
        if left_s < 2 * BUDGET_S:
            self._instruments.suppressed.add(1)
            return None
        return Victims(
            self._config.max_delayed_requests,
            min(max(BUDGET_S, BUDGET_SHARE * (ended - started)), left_s / 2),
            self._allowance.spend,
            lambda culprit: partial(self._annotate, Annotations(culprit), culprit),
            self._record_later,
            self._recorder,
            prefetched,
        )

    def _record_later(self, count: int, record_all: Callable[[], Iterator[None]]) -> None:
        if self._worker.pending > MAX_BEHIND:
            self._instruments.suppressed.add(count)
        else:
            self._worker.defer(record_all)

    def _annotate(self, annotations: Annotations, culprit: Culprit, victims: list[Victim]) -> None:
        for victim in victims:
            span, root, due, _ = victim
            count = getattr(span, DELAYS_ON_SPAN, 0)
            delay = annotations.of(due, start_unix_ns(span))
            mark_delayed(span, root, delay.delay_s)
            if count >= self._config.max_events_per_span:
                self._instruments.suppressed.add(1)
                continue
            setattr(span, DELAYS_ON_SPAN, count + 1)
            # A span of our own cannot show the wait of a request whose own span begins after it.
            as_span = self._as_span and delay.began_unix_ns < culprit.unix_ns(culprit.ended_s)
            if self._as_event or (self._as_span and not as_span):
                span.add_event(attributes.DELAYED, delay.attributes, delay.began_unix_ns)
            if annotations.link is not None and (self._as_event or self._as_span):
                (root if root.is_recording() else span).add_link(annotations.link)
            if as_span or self._as_log_event:
                self._worker.defer(partial(self._emit, span, culprit, delay, as_span))

    def _emit(self, span: Any, culprit: Culprit, delay: Delay, as_span: bool) -> None:
        of = trace.set_span_in_context(span, context.Context())
        if as_span:
            target = culprit.carrier
            links = [Link(target)] if target is not None and target.is_valid else []
            ended_unix_ns = culprit.unix_ns(culprit.ended_s)
            self._tracer.start_span(
                attributes.DELAYED,
                of,
                attributes=delay.attributes,
                links=links,
                start_time=delay.began_unix_ns,
            ).end(ended_unix_ns)
        if self._as_log_event:
            scope.logger(self._logger_provider).emit(
                LogRecord(
                    timestamp=delay.began_unix_ns,
                    context=of,
                    severity_number=SeverityNumber.WARN,
                    severity_text="WARN",
                    event_name=attributes.DELAYED,
                    attributes=delay.attributes,
                )
            )

    def _recorder(self, culprit: Culprit) -> Record:
        block = culprit.observed.block
        function = self._functions(block.function) if block.function is not None else None
        histogram = self._instruments.delay_duration
        of_route: dict[str | None, Mapping[str, attributes.Value]] = {}

        def record(root: Any, delay_s: float) -> None:
            route = route_and_name(root)[0]
            shared = of_route.get(route)
            if shared is None:
                bounded = self._routes(route) if route is not None else None
                shared = of_route[route] = attributes.of_metric(block, function, bounded, with_cause=False)
            histogram.record(delay_s, shared, trace.set_span_in_context(root, context.Context()))

        return record
