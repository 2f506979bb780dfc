"""Reports loops that have no rest: how long, and what filled them.

All of it happens on the worker's thread, or on the one that collects metrics.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from opentelemetry import context, trace
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.trace import Link, Span, SpanContext, Tracer

from otel_loopblock.clocks import perf_counter, time_ns
from otel_loopblock.config import Config
from otel_loopblock.emit import attributes, scope, words
from otel_loopblock.emit.attributes import Value
from otel_loopblock.emit.busy import UNKNOWN
from otel_loopblock.emit.context import is_valid, local_root, route_and_name
from otel_loopblock.emit.flush import Flush
from otel_loopblock.emit.limits import Distinct, Interval
from otel_loopblock.emit.metrics import Instruments
from otel_loopblock.explain.sampled import function_of
from otel_loopblock.explain.stack import Stacks
from otel_loopblock.naming import printable
from otel_loopblock.watch.load import BusyStretch, Sample
from otel_loopblock.watch.monitor import Monitor

_logger = logging.getLogger("otel_loopblock")

SHOWN = 5
"""Functions, routes and requests that are told of."""

MAX_KEPT = 256
"""Functions, routes and requests that are counted per stretch; then those seen least go."""

MAX_WAITING = 128
"""Samples that wait to be named, and named ones that may belong to a stretch, per loop."""

LINE_INTERVAL_S = 60.0
"""At most one line in the log in this time."""


class _Named(NamedTuple):
    """A sample in words."""

    at: float
    function: str
    route: str | None
    name: str | None
    """Of the request."""
    request: SpanContext | None
    """Of its outermost span here; not the span, which would be kept alive."""


class Filling:
    """What a stretch of one loop was filled with."""

    def __init__(self) -> None:
        self.recent: deque[_Named] = deque(maxlen=MAX_WAITING)
        self.lags: deque[tuple[float, float]] = deque(maxlen=MAX_WAITING)
        """When a lag was measured, and how long it was."""
        self.hang_due_s = 0.0
        self.begin(0.0)

    def begin(self, since: float) -> None:
        """Count for another stretch."""
        self.since = since
        self.count = 0
        self.functions: dict[tuple[str, str | None], int] = {}
        """By function and the name of the request."""
        self.routes: dict[str, int] = {}
        self.requests: dict[tuple[int, int], int] = {}
        """By trace and span."""
        self.contexts: dict[tuple[int, int], SpanContext] = {}
        """Of these."""
        self.lag_s = 0.0

    def take(self, stretch: BusyStretch) -> None:
        """Count what was seen in a stretch until now."""
        if stretch.since != self.since:
            self.begin(stretch.since)
        while self.recent and self.recent[0].at <= stretch.until:
            named = self.recent.popleft()
            if named.at >= self.since:
                self._count(named)
        while self.lags:
            at, lag_s = self.lags.popleft()
            if at >= self.since:
                self.lag_s = max(self.lag_s, lag_s)

    def _count(self, named: _Named) -> None:
        self.count += 1
        key = named.function, named.name
        self.functions[key] = self.functions.get(key, 0) + 1
        if named.route is not None:
            self.routes[named.route] = self.routes.get(named.route, 0) + 1
        if named.request is not None:
            request = named.request.trace_id, named.request.span_id
            self.requests[request] = self.requests.get(request, 0) + 1
            self.contexts[request] = named.request
        for counted in (self.functions, self.routes, self.requests):
            _bound(counted)
        if len(self.contexts) > len(self.requests):
            self.contexts = {request: self.contexts[request] for request in self.requests}

    def most(self) -> list[SpanContext]:
        """The requests that were seen most."""
        requests = sorted(self.requests, key=lambda each: -self.requests[each])[:SHOWN]
        return [self.contexts[request] for request in requests]


def _bound(counted: dict[Any, int]) -> None:
    if len(counted) > MAX_KEPT:
        for key in sorted(counted, key=lambda key: counted[key])[: MAX_KEPT // 2]:
            del counted[key]


class Saturation:
    """Names samples, counts them, and reports stretches without a rest.

    Args:
        config: the options.
        defer: has work done on another thread than the loop's.
        may_report: whether one more report may go out.
        stacks: tells the application's own code.
        instruments: has the metrics.
        functions: bounds functions in metrics.
        routes: bounds routes in metrics.
        flush: has what is reported while it lasts exported at once.
        tracer: for spans of our own.
        logger_provider: for log events.
    """

    def __init__(
        self,
        config: Config,
        defer: Callable[[Callable[[], None]], None],
        *,
        may_report: Callable[[], bool],
        stacks: Stacks,
        instruments: Instruments,
        functions: Distinct,
        routes: Distinct,
        flush: Flush,
        tracer: Tracer,
        logger_provider: LoggerProvider | None,
    ) -> None:
        self._defer = defer
        self._may_report = may_report
        self._stacks = stacks
        self._instruments = instruments
        self._functions = functions
        self._routes = routes
        self._flush = flush
        self._tracer = tracer
        self._logger_provider = logger_provider
        self._hang_after_s = config.hang_after_ms / 1000
        self._as_span = bool({"event", "span"} & set(config.report))
        self._as_log_event = "log" in config.report
        self._line_interval = Interval(LINE_INTERVAL_S)
        self._waiting: deque[tuple[Monitor, Filling, Sample]] = deque(maxlen=MAX_WAITING)

    def sampled(self, monitor: Monitor, filling: Filling, samples: Sequence[Sample]) -> None:
        """Have samples of a loop named soon; any thread."""
        self._waiting.extend((monitor, filling, sample) for sample in samples)
        self._defer(self.name)

    def full(self, monitor: Monitor, filling: Filling, stretch: BusyStretch) -> None:
        """Report a stretch that is over, or has lasted long; any thread."""
        filled_ns = time_ns() - int((perf_counter() - stretch.since) * 1e9)
        self._defer(lambda: self._full(monitor, filling, stretch, filled_ns))

    def name(self) -> None:
        """Name the samples that wait."""
        while True:
            try:
                monitor, filling, sample = self._waiting.popleft()
            except IndexError:  # nothing is left, or another thread has taken it
                return
            function = function_of(sample, self._stacks)
            span = trace.get_current_span(sample.value) if sample.value is not None else trace.INVALID_SPAN
            route, name = route_and_name(span)
            root = local_root(span)
            request = root.get_span_context() if is_valid(root) else None
            filling.recent.append(_Named(sample.at, function or UNKNOWN, route, name, request))
            self._instruments.busy.add(
                monitor,
                self._functions(function) if function is not None else None,
                self._routes(route) if route is not None else None,
            )

    def _full(self, monitor: Monitor, filling: Filling, stretch: BusyStretch, started_unix_ns: int) -> None:
        self.name()
        if stretch.since != filling.since:
            filling.hang_due_s = self._hang_after_s
        filling.take(stretch)
        duration_s = stretch.until - stretch.since
        if not stretch.over:
            if not 0.0 < filling.hang_due_s <= duration_s:
                return
            while filling.hang_due_s <= duration_s:
                filling.hang_due_s *= 2
        details = self._describe(monitor, filling, stretch)
        span: Span = trace.INVALID_SPAN
        may_report = self._may_report()
        if may_report and self._as_span:
            span = self._tracer.start_span(
                attributes.SATURATED,
                context=context.Context(),
                links=[Link(request) for request in filling.most()],
                start_time=started_unix_ns,
                attributes={attributes.SATURATED: True, **details},
            )
            span.end(started_unix_ns + int(duration_s * 1e9))
        if stretch.over:
            self._instruments.saturation_duration.record(
                duration_s,
                {attributes.LOOP_TYPE: monitor.loop_type},
                trace.set_span_in_context(span, context.Context()) if is_valid(span) else context.Context(),
            )
        if may_report:
            line = _line(filling, duration_s, stretch.over)
            if self._as_log_event:
                self._emit_log_event(started_unix_ns, line, details)
            if self._line_interval.allows(None, perf_counter()):
                _logger.warning("%s", line)
        if not stretch.over:
            self._flush()

    def _describe(self, monitor: Monitor, filling: Filling, stretch: BusyStretch) -> dict[str, Value]:
        functions: dict[str, int] = {}
        for (function, _), count in filling.functions.items():
            functions[function] = functions.get(function, 0) + count
        duration_s = stretch.until - stretch.since
        details: dict[str, Value] = {
            attributes.SATURATION_DURATION: attributes.seconds(duration_s),
            attributes.SATURATION_UTILIZATION: round(min(1.0, stretch.busy_s / duration_s), 4),
            attributes.SATURATION_CALLBACKS: stretch.callbacks,
            attributes.SATURATION_LAG_MAX: attributes.seconds(filling.lag_s),
        }
        for counted, names, shares, rest in (
            (functions, *attributes.SATURATION_FUNCTIONS),
            (filling.routes, *attributes.SATURATION_ROUTES),
        ):
            shown = _shares(counted, filling.count)
            details[names] = [each for each, _ in shown]
            details[shares] = [share for _, share in shown]
            details[rest] = (
                round(max(0.0, 1.0 - sum(share for _, share in shown)), 4) if filling.count else 0.0
            )
        details[attributes.SATURATION_SAMPLES] = filling.count
        details[attributes.LOOP_TYPE] = monitor.loop_type
        details[attributes.THREAD_NAME] = printable(monitor.thread_name)
        if not stretch.over:
            details[attributes.SATURATION_ONGOING] = True
        return details

    def _emit_log_event(self, started_unix_ns: int, line: str, details: dict[str, Value]) -> None:
        scope.logger(self._logger_provider).emit(
            LogRecord(
                timestamp=started_unix_ns,
                context=context.Context(),
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                event_name=attributes.SATURATED,
                body=line,
                attributes=details,
            )
        )


def _shares(counted: dict[str, int], total: int) -> list[tuple[str, float]]:
    most = sorted(counted, key=lambda each: -counted[each])[:SHOWN]
    return [(each, round(counted[each] / total, 4)) for each in most]


def _line(filling: Filling, duration_s: float, over: bool) -> str:
    """``event loop saturated for 1.8 s: 62 % app.pricing.total (POST /quote), 21 % ...``."""
    verb = "saturated for" if over else "still saturated after"
    parts = []
    for function, name in sorted(filling.functions, key=lambda each: -filling.functions[each])[:SHOWN]:
        share = filling.functions[function, name] / filling.count
        parts.append(f"{100 * share:.0f} % {function}" + (f" ({name})" if name else ""))
    what = ", ".join(parts) or "no sample tells by what"
    lasted = f"{duration_s:.1f} s" if duration_s >= 1.0 else words.milliseconds(duration_s)
    return f"event loop {verb} {lasted}: {what}"
