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
from otel_loopblock.emit.annotations import Annotations
from otel_loopblock.emit.context import route_and_name, start_unix_ns
from otel_loopblock.emit.events import add_event, add_link, add_to_many
from otel_loopblock.emit.late import LateAttributes
from otel_loopblock.emit.limits import Allowance, Distinct
from otel_loopblock.emit.metrics import Instruments
from otel_loopblock.emit.victims import Culprit, Prefetched, Record, Victim, Victims
from otel_loopblock.emit.worker import Worker

BUDGET_S: Final = 0.0005
"""CPU seconds of the loop's thread that a block may cost it for those who waited, or"""
BUDGET_SHARE: Final = 0.025
"""this share of a longer block: what is done about it stays small beside it."""

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
        report, most = self._config.report, self._config.max_events_per_span
        if report == "event":
            victims, suppressed = add_to_many(victims, annotations, most)
            if suppressed:
                self._instruments.suppressed.add(suppressed)
        for victim in victims:
            span = victim[0]
            count = getattr(span, DELAYS_ON_SPAN, 0)
            if count >= most:
                self._instruments.suppressed.add(1)
                continue
            setattr(span, DELAYS_ON_SPAN, count + 1)
            late, began_unix_ns = annotations.of(victim[2], start_unix_ns(span))
            if report == "event":
                add_event(span, attributes.DELAYED, late, began_unix_ns)
                _link(victim, annotations.link)
                continue
            # A span of our own cannot show the wait of a request whose own span begins after it.
            as_span = report in ("span", "all") and began_unix_ns < culprit.unix_ns(culprit.ended_s)
            if report == "all" or (report == "span" and not as_span):
                add_event(span, attributes.DELAYED, late, began_unix_ns)
            if report != "log":
                _link(victim, annotations.link)
            if as_span or report in ("log", "all"):
                self._worker.defer(self._later(victim, culprit, late, began_unix_ns, as_span))

    def _later(
        self, victim: Victim, culprit: Culprit, late: LateAttributes, began_unix_ns: int, as_span: bool
    ) -> Callable[[], None]:
        def later() -> None:
            of = trace.set_span_in_context(victim[0], context.Context())
            details = dict(late.read())
            if as_span:
                target = culprit.carrier
                links = [Link(target)] if target is not None and target.is_valid else []
                self._tracer.start_span(
                    attributes.DELAYED, of, attributes=details, links=links, start_time=began_unix_ns
                ).end(culprit.unix_ns(culprit.ended_s))
            if self._config.report in ("log", "all"):
                scope.logger(self._logger_provider).emit(
                    LogRecord(
                        timestamp=began_unix_ns,
                        context=of,
                        severity_number=SeverityNumber.WARN,
                        severity_text="WARN",
                        event_name=attributes.DELAYED,
                        attributes=details,
                    )
                )

        return later

    def _recorder(self, culprit: Culprit) -> Record:
        block = culprit.observed.block
        function = self._functions(block.culprit.function) if block.culprit is not None else None
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


def _link(victim: Victim, link: Link | None) -> None:
    """Link the request's span to the culprit's, where that one is exported."""
    if link is not None:
        span, root, _, _ = victim
        add_link(root if root.is_recording() else span, link)
