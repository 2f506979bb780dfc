"""Tells the requests that a block made wait: an event, a link to who made them wait, a metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from opentelemetry import _logs, context, trace
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.trace import Link, Tracer

from otel_loopblock.config import Config
from otel_loopblock.emit import attributes
from otel_loopblock.emit.context import route_and_name, start_unix_ns
from otel_loopblock.emit.limits import Distinct
from otel_loopblock.emit.metrics import SCOPE, Instruments
from otel_loopblock.emit.victims import Culprit, Victim, Victims
from otel_loopblock.version import __version__

STEPS: Final = 10
"""Distinct values of ``event_loop.delay.max`` per block: events that are alike cost a third."""

DELAYS_ON_SPAN: Final = "_loopblock_delays"
"""Where a span keeps how many of these events it carries."""


class Delays:
    """Emits what is to be said of requests that waited, in the form that is configured.

    Args:
        config: the options.
        defer: has work done on another thread than the loop's.
        instruments: the metrics.
        functions: bounds the culprits' names, shared with the metrics of blocks.
        routes: likewise the routes.
        tracer: for spans of our own.
        logger_provider: for log events.
    """

    def __init__(
        self,
        config: Config,
        defer: Callable[[Callable[[], None]], None],
        *,
        instruments: Instruments,
        functions: Distinct,
        routes: Distinct,
        tracer: Tracer,
        logger_provider: LoggerProvider | None,
    ) -> None:
        self._config = config
        self._defer = defer
        self._instruments = instruments
        self._functions = functions
        self._routes = routes
        self._tracer = tracer
        self._logger_provider = logger_provider

    def of_a_block(self) -> Victims:
        """Begin to look for the requests that one callback made wait."""
        return Victims(self._config.max_delayed_requests, self._annotate, self._defer, self._record)

    def _annotate(self, victims: list[Victim], culprit: Culprit) -> None:
        report = self._config.report
        annotations = Annotations(culprit)
        ended_unix_ns = culprit.unix_ns(culprit.ended_s)
        for victim in victims:
            span = victim.span
            count = getattr(span, DELAYS_ON_SPAN, 0)
            if count >= self._config.max_events_per_span:
                self._instruments.suppressed.add(1)
                continue
            setattr(span, DELAYS_ON_SPAN, count + 1)
            began_unix_ns = annotations.began_unix_ns(victim)
            # A span of our own cannot show the wait of a request whose own span begins after it.
            as_span = report in ("span", "all") and began_unix_ns < ended_unix_ns
            if report in ("event", "all") or (report == "span" and not as_span):
                annotations.add_event(victim, began_unix_ns)
            if report != "log":
                annotations.add_link(victim)
            if as_span or report in ("log", "all"):
                self._defer(self._later(victim, culprit, annotations.delay(victim), began_unix_ns, as_span))

    def _later(
        self, victim: Victim, culprit: Culprit, delay_s: float, began_unix_ns: int, as_span: bool
    ) -> Callable[[], None]:
        def later() -> None:
            of = trace.set_span_in_context(victim.span, context.Context())
            details = attributes.of_delay(culprit, delay_s)
            if as_span:
                target = culprit.carrier
                links = [Link(target)] if target is not None and target.is_valid else []
                self._tracer.start_span(
                    attributes.DELAYED, of, attributes=details, links=links, start_time=began_unix_ns
                ).end(culprit.unix_ns(culprit.ended_s))
            if self._config.report in ("log", "all"):
                _logs.get_logger(SCOPE, __version__, logger_provider=self._logger_provider).emit(
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

    def _record(self, root: Any, culprit: Culprit, delay_s: float) -> None:
        block = culprit.block
        function = self._functions(block.culprit.function) if block.culprit is not None else None
        route = route_and_name(root)[0]
        self._instruments.delay_duration.record(
            delay_s,
            attributes.of_metric(
                block, function, self._routes(route) if route is not None else None, with_cause=False
            ),
            trace.set_span_in_context(root, context.Context()),
        )


class Annotations:
    """Puts the events of one block on spans: alike as they are, they share their attributes.

    ``add_event`` copies, checks and locks its attributes anew for each span, 8 µs for ours; a hundred
    requests would wait for that. The first of equal events is added so, the others take its attributes over.
    """

    __slots__ = ("_culprit", "_events", "_link")

    def __init__(self, culprit: Culprit) -> None:
        self._culprit = culprit
        self._events: dict[float, Any] = {}
        self._link: Any = None

    def delay(self, victim: Victim) -> float:
        """``event_loop.delay.max`` of a request: an upper bound, so rounded up, to a tenth of the block."""
        step = (self._culprit.ended_s - self._culprit.started_s) / STEPS
        return math.ceil(min(STEPS, self._culprit.longest_wait(victim.due) / step)) * step

    def began_unix_ns(self, victim: Victim) -> int:
        """When the wait began at the earliest; not before the span did."""
        began = self._culprit.unix_ns(max(victim.due or 0.0, self._culprit.started_s))
        return max(began, start_unix_ns(victim.span) or 0)

    def add_event(self, victim: Victim, began_unix_ns: int) -> None:
        """Add the event, stamped with the beginning of the wait."""
        span = victim.span
        delay = self.delay(victim)
        like = self._events.get(delay)
        add = getattr(span, "_add_event", None)
        if like is not None and add is not None:
            add(type(like)(attributes.DELAYED, like.attributes, began_unix_ns))
            return
        span.add_event(attributes.DELAYED, attributes.of_delay(self._culprit, delay), began_unix_ns)
        if add is not None:
            self._events[delay] = span.events[-1]

    def add_link(self, victim: Victim) -> None:
        """Link the request's span to the culprit's, where that one is exported."""
        target = self._culprit.carrier
        if target is None or not target.is_valid or not target.trace_flags.sampled:
            return
        span = victim.root if victim.root.is_recording() else victim.span
        add = getattr(span, "_add_link", None)
        if self._link is None or add is None:
            span.add_link(target)
            if add is not None:
                self._link = span.links[-1]
        else:
            add(self._link)
