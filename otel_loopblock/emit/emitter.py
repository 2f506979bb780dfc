"""The listener that makes telemetry: an event, span or log event per stretch, metrics per callback.

On the loop's thread happens only what cannot wait: the event on a span that is about to end. The rest
is handed to the watchdog's thread.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import time
from contextvars import Context as PythonContext
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, context, trace
from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanContext, TracerProvider

from otel_loopblock import block as blocks
from otel_loopblock.advice import AdviceTable
from otel_loopblock.block import Block, Explanation
from otel_loopblock.charge import Charges, Stretch
from otel_loopblock.config import Config
from otel_loopblock.emit import attributes, words
from otel_loopblock.emit.context import (
    context_of,
    current_span,
    is_valid,
    parent_for,
    route_and_name,
    span_read_from,
    start_unix_ns,
)
from otel_loopblock.emit.delays import Delays
from otel_loopblock.emit.limits import Distinct, Interval, Rate
from otel_loopblock.emit.metrics import SCOPE, instruments
from otel_loopblock.emit.victims import Culprit, Victims
from otel_loopblock.samples import Evidence, Target
from otel_loopblock.stack import OwnCode, Stacks
from otel_loopblock.version import __version__

if TYPE_CHECKING:
    from otel_loopblock.monitor import Monitor
    from otel_loopblock.registry import Registry

_logger = logging.getLogger("otel_loopblock")

MAX_SEEN = 32
"""Looks at the current span per callback: they end where blocks are reported as hanging."""

DRAFT_FROM = 0.6
"""Thresholds that a callback has run when it is explained for the first time, on the watchdog's thread."""

DRAFT_GROWTH = 1.15
"""How much longer it has run when it is explained again: a draft then covers most of any block."""

EVENTS_ON_SPAN = "_loopblock_events"
"""Where a span keeps how many of our events it carries."""


class _Running:
    """What the emitter keeps of one loop."""

    __slots__ = (
        "callback",
        "charges",
        "draft",
        "draft_collection",
        "draft_due",
        "hang_due",
        "reported",
        "seen",
        "seen_callback",
        "victims",
    )

    def __init__(self) -> None:
        self.charges = Charges()
        self.callback = 0.0
        self.reported: list[tuple[Span, Block, SpanContext | None]] = []
        self.victims: Victims | None = None
        # Written on the watchdog's thread: the spans that were current, and when.
        self.seen_callback = 0.0
        self.seen: list[tuple[float, Span]] = []
        self.hang_due = 0.0
        self.draft: Explanation | None = None
        self.draft_due = 0.0
        self.draft_collection: tuple[float, float] | None = None

    def begin(self, callback: float) -> None:
        if self.callback != callback:
            self.callback = callback
            self.reported = []
            self.victims = None

    def active_in(self, stretch: Stretch, callback: float) -> Span | None:
        """The span that was seen to be current last in a stretch of ``callback``."""
        if self.seen_callback != callback:
            return None
        return next((span for at, span in reversed(self.seen) if stretch.began <= at <= stretch.ended), None)


def _last_collection(monitor: Monitor) -> tuple[float, float] | None:
    return monitor.collections[-1] if monitor.collections else None


class Emitter:
    """Turns blocks into telemetry, as configured.

    Args:
        config: the options.
        registry: knows the monitors, and has the thread that deferred work is done on.
        tracer_provider: for spans of our own; the global one, looked up when needed, for ``None``.
        meter_provider: likewise for metrics.
        logger_provider: likewise for log events.
        table: where advice is looked up.
    """

    def __init__(
        self,
        config: Config,
        registry: Registry,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        table: AdviceTable,
    ) -> None:
        self.threshold_s = config.threshold_s
        self.heartbeat_interval_s = config.heartbeat_interval_ms / 1000
        self.watchdog = config.watchdog
        self.max_samples = config.max_samples
        self._config = config
        self._registry = registry
        self._table = table
        self._stacks = Stacks(OwnCode(config.app_paths), table.lookup, config.stack_depth)
        self._ignored = (
            re.compile("|".join(fnmatch.translate(pattern) for pattern in config.ignore))
            if config.ignore
            else None
        )
        self._tracer = (
            trace.get_tracer(SCOPE, __version__)
            if tracer_provider is None
            else tracer_provider.get_tracer(SCOPE, __version__)
        )
        self._logger_provider = logger_provider
        self._instruments = instruments(meter_provider)
        self._rate = Rate(config.max_events_per_second)
        self._log_interval = Interval(config.log_interval_ms / 1000)
        self._functions = Distinct(config.max_functions)
        self._routes = Distinct(10 * config.max_functions)
        self._hang_after_s = config.hang_after_ms / 1000
        self._delays = Delays(
            config,
            registry.watchdog.defer,
            instruments=self._instruments,
            functions=self._functions,
            routes=self._routes,
            tracer=self._tracer,
            logger_provider=logger_provider,
        )

    def begin(self) -> None:
        """Let the gauges observe; after this the registry may call."""
        self._instruments.monitors = self._registry.monitors

    def end(self) -> None:
        """Let the gauges observe nothing any more."""
        self._instruments.monitors = tuple

    # -- called by the registry and the hooks ---------------------------------------------------

    def span_ending(self, monitor: Monitor, span: Any, ended: float, end_time: int | None) -> None:
        """Charge the running callback's stretches to ``span`` while it can still take an event."""
        running = self._running(monitor)
        started_ns = start_unix_ns(span)
        if started_ns is None or not span.is_recording():
            return
        wall_ns = time.time_ns()
        if end_time is not None and end_time < wall_ns:
            ended -= (wall_ns - end_time) / 1e9
            wall_ns = end_time
        age = (wall_ns - started_ns) / 1e9
        # A clock that was set back makes the span start in the future: it then covers nothing.
        stretches = running.charges.take(monitor.started, ended - age, ended, self.threshold_s)
        if not stretches:
            return
        target = blocks.running_target(monitor)
        running.begin(monitor.started)
        delayed = self._look_for_victims(running, monitor, span)
        for stretch in stretches:
            block = self._explained(monitor, running, stretch, target).with_delayed(delayed)
            running.reported.append((span, block, self._report(span, block, None)))

    def callback_blocked(
        self,
        monitor: Monitor,
        started: float,
        ended: float,
        target: Target,
        python_context: PythonContext | None,
    ) -> None:
        """Report what no span has taken, and record the callback."""
        running = self._running(monitor)
        running.begin(started)
        span = current_span(python_context)
        delayed = self._look_for_victims(running, monitor, span)
        taken: list[Stretch] = []
        if span.is_recording():
            started_ns = start_unix_ns(span)
            if started_ns is not None:
                age = (time.time_ns() - started_ns) / 1e9 - (perf_counter() - ended)
                taken = running.charges.take(started, ended - age, ended, self.threshold_s)
        left = running.charges.rest(started, ended, self.threshold_s)
        for stretch in taken:
            block = self._explained(monitor, running, stretch, target).with_delayed(delayed)
            running.reported.append((span, block, self._report(span, block, None)))
        for stretch in left:
            block = self._explained(monitor, running, stretch, target).with_delayed(delayed)
            # A request that blocked, left its span's scope and returned has no current span any more.
            active = running.active_in(stretch, started) or span
            running.reported.append((active, block, self._report(None, block, active)))
        if not running.reported:  # stretches shorter than a threshold, each under a span of its own
            whole = self._explained(monitor, running, Stretch(started, ended), target)
            carrier = None if self._is_ignored(whole) else span.get_span_context()
            running.reported.append((span, whole, carrier))
        duration = ended - started
        reported, running.reported = running.reported, []
        charged, block, carrier = max(reported, key=lambda item: item[1].duration_s)
        victims, running.victims = running.victims, None
        if victims is not None:
            traces = frozenset(item[0].get_span_context().trace_id for item in reported)
            victims.blame(Culprit(block, started, ended, route_and_name(charged)[0], carrier, traces))
            monitor.follow(ended, victims)
        self._registry.watchdog.defer(lambda: self._record(charged, block, duration))

    def callback_running(self, monitor: Monitor, started: float, now: float) -> None:
        """Note the span of a long callback; report one that does not come back, while it lasts.

        On the watchdog's thread.
        """
        running = self._running(monitor)
        if running.seen_callback != started:
            running.seen_callback, running.seen, running.hang_due = started, [], self._hang_after_s
            running.draft, running.draft_due = None, started + DRAFT_FROM * self.threshold_s
        hangs = 0 < running.hang_due <= now - started
        drafts = now >= running.draft_due
        if not hangs and not drafts and len(running.seen) >= MAX_SEEN:
            return
        runner = blocks.runner_frame(monitor)
        target = blocks.running_target(monitor, runner)
        span = span_read_from(context_of(target, runner))
        del runner
        if monitor.started != started:
            return
        if is_valid(span) and len(running.seen) < MAX_SEEN:
            running.seen.append((now, span))
        if drafts:
            running.draft_due = started + DRAFT_GROWTH * (now - started)
            running.draft_collection = _last_collection(monitor)
            running.draft = self._draft(monitor, Stretch(started, now), target)
        if not hangs:
            return
        while running.hang_due <= now - started:
            running.hang_due *= 2
        block = self._build(
            monitor, monitor.evidence_so_far(now), Stretch(started, now), target, ongoing=True
        )
        if self._is_ignored(block) or not self._may_report():
            return
        # Its span will not end before the block does, if ever: only what is sent on its own is seen now.
        if self._config.report != "log":
            self._emit_span(block, parent_for(span, block.started_unix_ns))
        if self._config.report in ("log", "all"):
            self._emit_log_event(block, span)
        self._write_line(block, span)

    def _draft(self, monitor: Monitor, stretch: Stretch, target: Target) -> Explanation | None:
        """Explain a callback that still runs, so that the loop's thread need not once it ends."""
        watch = monitor.watch
        if watch is None or watch.started != stretch.began or not watch.looks:
            return None
        explanation = blocks.explain(
            monitor,
            monitor.evidence_so_far(stretch.ended),
            stretch.began,
            stretch.ended,
            target,
            stacks=self._stacks,
            table=self._table,
        )
        if explanation.stack:
            self._stacks.text(explanation.stack, explanation.leaf_call)
        return explanation

    def lag_measured(self, monitor: Monitor, lag_s: float) -> None:
        """Record how late a heartbeat ran."""
        self._instruments.lag.record(lag_s, {attributes.LOOP_TYPE: monitor.loop_type}, context.Context())

    # -- who had to wait ----------------------------------------------------------------------------

    def _look_for_victims(self, running: _Running, monitor: Monitor, span: Span) -> int | None:
        """Look at what waits for the running callback.

        Args:
            running: of the loop.
            monitor: likewise.
            span: whose trace is not counted.

        Returns:
            How many requests are known to wait by now; ``None`` where none is, or that cannot be seen.
        """
        if monitor.queue is None:
            return None
        if running.victims is None:
            running.victims = self._delays.of_a_block()
        running.victims.look(monitor.waiting(perf_counter()))
        return running.victims.count(span.get_span_context().trace_id) or None

    # -- a stretch --------------------------------------------------------------------------------

    def _running(self, monitor: Monitor) -> _Running:
        running: _Running | None = monitor.state.get(self)
        if running is None:
            running = monitor.state[self] = _Running()
        return running

    def _explained(self, monitor: Monitor, running: _Running, stretch: Stretch, target: Target) -> Block:
        """The record of a stretch that ends now, on the loop's thread: from a draft where there is one.

        A draft will do for a whole callback, if the watchdog has come on time since; the end that it does
        not cover is too short to change the cause.
        """
        draft, tick = running.draft, self._registry.watchdog.tick_s
        if (
            draft is not None
            and running.seen_callback == monitor.started == stretch.began
            and stretch.ended - draft.until <= max(2 * tick, 0.2 * (stretch.ended - stretch.began))
            and not monitor.is_overdue(stretch.ended)
            and running.draft_collection is _last_collection(monitor)
        ):
            return blocks.record(
                monitor, draft, stretch.began, stretch.ended, target, threshold_s=self.threshold_s
            )
        return self._build(monitor, monitor.evidence(perf_counter()), stretch, target)

    def _build(
        self, monitor: Monitor, evidence: Evidence, stretch: Stretch, target: Target, *, ongoing: bool = False
    ) -> Block:
        return blocks.build(
            monitor,
            evidence,
            stretch.began,
            stretch.ended,
            target,
            threshold_s=self.threshold_s,
            stacks=self._stacks,
            table=self._table,
            ongoing=ongoing,
        )

    def _attributes(self, block: Block) -> dict[str, attributes.Value]:
        return attributes.of_block(
            block, self._stacks.text(block.stack, block.leaf_call) if block.stack else None
        )

    def _is_ignored(self, block: Block) -> bool:
        return (
            self._ignored is not None
            and block.culprit is not None
            and self._ignored.match(block.culprit.function) is not None
        )

    def _may_report(self) -> bool:
        if self._rate.allows(perf_counter()):
            return True
        self._instruments.suppressed.add(1)
        return False

    def _report(self, span: Any, block: Block, active: Span | None) -> SpanContext | None:
        """Put a stretch where the user will find it.

        Args:
            span: the recording span that it is charged to, or ``None``.
            block: the record.
            active: where there is no such span, the one that was current, recording or not.

        Returns:
            The span that leads to the block, which may be one of its own, or an invalid one where there is
            none; ``None`` when it is not reported.
        """
        if self._is_ignored(block) or not self._may_report():
            return None
        report = self._config.report
        if report in ("event", "all") and span is not None:
            count = getattr(span, EVENTS_ON_SPAN, 0)
            if count < self._config.max_events_per_span:
                span.add_event(
                    attributes.BLOCKED,
                    self._attributes(block),
                    block.started_unix_ns,
                )
                setattr(span, EVENTS_ON_SPAN, count + 1)
            else:
                self._instruments.suppressed.add(1)
        over: Span = span if span is not None else active if active is not None else trace.INVALID_SPAN
        own_span = report in ("span", "all") or (report == "event" and span is None)
        parent = parent_for(over, block.started_unix_ns) if own_span and span is None else None
        if own_span and span is not None:
            parent = trace.set_span_in_context(span, context.Context())
        log_event = report in ("log", "all")
        # Without a trace there is nothing else that the requests which waited could be linked to.
        opened = self._start_span(block, None) if own_span and not is_valid(over) else None

        def later() -> None:
            if opened is not None:
                self._end_span(opened, block)
            elif own_span:
                self._emit_span(block, parent)
            if log_event:
                self._emit_log_event(block, over)
            self._write_line(block, over)

        self._registry.watchdog.defer(later)
        return opened.get_span_context() if opened is not None else over.get_span_context()

    # -- on the watchdog's thread -------------------------------------------------------------------

    def _emit_span(self, block: Block, parent: context.Context | None) -> None:
        self._end_span(self._start_span(block, parent), block)

    def _start_span(self, block: Block, parent: context.Context | None) -> Span:
        return self._tracer.start_span(
            attributes.BLOCKED,
            context=parent if parent is not None else context.Context(),
            start_time=block.started_unix_ns,
        )

    def _end_span(self, span: Span, block: Block) -> None:
        span.set_attributes(self._attributes(block))
        span.end(block.ended_unix_ns)

    def _emit_log_event(self, block: Block, span: Span) -> None:
        _logs.get_logger(SCOPE, __version__, logger_provider=self._logger_provider).emit(
            LogRecord(
                timestamp=block.started_unix_ns,
                context=trace.set_span_in_context(span, context.Context()),
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                event_name=attributes.BLOCKED,
                body=words.line(block, None),
                attributes=self._attributes(block),
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
            _logger.warning("%s", words.line(block, request))
        finally:
            context.detach(token)

    def _record(self, span: Span, block: Block, duration_s: float) -> None:
        function = self._functions(block.culprit.function) if block.culprit is not None else None
        route = route_and_name(span)[0]
        self._instruments.block_duration.record(
            duration_s,
            attributes.of_metric(block, function, self._routes(route) if route is not None else None),
            trace.set_span_in_context(span, context.Context()) if is_valid(span) else context.Context(),
        )
