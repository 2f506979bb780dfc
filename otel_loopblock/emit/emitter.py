"""The listener that makes telemetry: an event, span or log event per stretch, metrics per callback.

On the loop's thread happens what cannot wait: the short event on a span that ends, and those who waited are
told. The watchdog has read ahead what that takes. All else is handed to a thread of its own
(:mod:`~otel_loopblock.emit.worker`).
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context as PythonContext
from itertools import chain
from typing import Any, NamedTuple

from opentelemetry import context, trace
from opentelemetry._logs import LoggerProvider, get_logger_provider
from opentelemetry.metrics import MeterProvider, get_meter_provider
from opentelemetry.trace import Span, SpanContext, TracerProvider

from otel_loopblock import core, guard
from otel_loopblock.clocks import perf_counter, thread_time, time_ns
from otel_loopblock.config import Config
from otel_loopblock.delayed.aftermath import Aftermath
from otel_loopblock.delayed.queue import SHORTEST_S, Waiting
from otel_loopblock.delayed.search import Search
from otel_loopblock.emit import attributes, scope, span_hooks
from otel_loopblock.emit.context import (
    current_span,
    is_valid,
    route_and_name,
    span_read_from,
    start_unix_ns,
    variable,
)
from otel_loopblock.emit.delays import Delays
from otel_loopblock.emit.flush import Flush
from otel_loopblock.emit.limits import Distinct
from otel_loopblock.emit.metrics import Monitors, instruments
from otel_loopblock.emit.reports import Reports
from otel_loopblock.emit.saturation import Filling, Saturation
from otel_loopblock.emit.span_hooks import Unknown
from otel_loopblock.emit.victims import Culprit, Prefetched, Victims, prefetch
from otel_loopblock.emit.worker import Worker
from otel_loopblock.explain import waits
from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.block import Block, Observed
from otel_loopblock.explain.explainer import Explainer
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import Stacks
from otel_loopblock.explain.stretches import Charges, Stretch
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.naming import is_our_callback
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.evidence import Evidence
from otel_loopblock.watch.load import BusyStretch, Sample
from otel_loopblock.watch.looks import context_of, running_elsewhere, running_target
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.target import Target, task_of
from otel_loopblock.watch.waits import Wait

MAX_SEEN = 32
"""Looks at the current span per callback: they end where blocks are reported as hanging."""


TURNS_AFTER_REST = 2
"""Turns of the loop, from the first callback after a rest, until what came meanwhile has woken its tasks."""

_SEEK = "look for requests that waited"

_NOTHING_PREFETCHED: tuple[float, Prefetched] = 0.0, Prefetched()


class _Sought(NamedTuple):
    """Those who wait for the running callback, as found at a certain moment."""

    at: float
    aftermath: Aftermath
    victims: Victims


class _Running:
    """What the emitter keeps of one loop."""

    __slots__ = (
        "callback",
        "charges",
        "cost_s",
        "filling",
        "hang_due",
        "prefetched",
        "reported",
        "search",
        "seen",
        "seen_callback",
        "sought",
    )

    def __init__(self) -> None:
        self.charges = Charges()
        self.search = Search()
        self.filling = Filling()
        self.callback = 0.0
        self.cost_s = 0.0
        """CPU seconds that the running callback's reports have taken on the loop's thread."""
        self.sought: _Sought | None = None
        self.reported: list[tuple[Span, Observed, SpanContext | None]] = []
        # Written on the watchdog's thread: the spans that were current, and when.
        self.seen_callback = 0.0
        self.seen: list[tuple[float, Span]] = []
        self.hang_due = 0.0
        self.prefetched = _NOTHING_PREFETCHED
        """The callback, and what was read of the requests that it may make wait."""

    def begin(self, callback: float) -> None:
        if self.callback != callback:
            self.callback = callback
            self.cost_s = 0.0
            self.sought = None
            self.reported = []

    def active_in(self, stretch: Stretch, callback: float) -> Span | None:
        """The span that was seen to be current last in a stretch of ``callback``."""
        if self.seen_callback != callback:
            return None
        return next((span for at, span in reversed(self.seen) if stretch.began <= at <= stretch.ended), None)


def _first_of(monitor: Monitor) -> Iterator[Waiting]:
    """The callback that begins now: it is in no queue any more."""
    callback = core.unwrap(monitor.callback)
    task = task_of(callback)
    context = context_of(task) if task is not None else monitor.context
    if context is not None:
        yield context, task, None


class Emitter:
    """Turns blocks into telemetry, as configured.

    Args:
        config: the options.
        monitors: the monitors of the loops that are alive.
        unknown: is told of a running loop that has no monitor.
        tracer_provider: for spans of our own; the global one, looked up when needed, for ``None``.
        meter_provider: likewise for metrics.
        logger_provider: likewise for log events.
        table: where advice is looked up.
        fetch_samples: hands out what loops were seen to do until now.
    """

    def __init__(
        self,
        config: Config,
        *,
        monitors: Monitors,
        unknown: Unknown,
        fetch_samples: Callable[[], object],
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        table: AdviceTable,
    ) -> None:
        self.threshold_s = config.threshold_s
        self.heartbeat_interval_s = config.heartbeat_interval_ms / 1000
        self.watchdog = config.watchdog
        self.max_samples = config.max_samples
        self.saturation_s = config.saturation_ms / 1000 if config.watchdog else 0.0
        self.samples = config.watchdog
        self.worker = Worker()
        """Has the thread that deferred work is done on."""
        self._config = config
        self._monitors = monitors
        self._unknown = unknown
        self._fetch_samples = fetch_samples
        self.patches = Patches()
        """The hooks on spans."""
        self._table = table
        self._stacks = stacks = Stacks(
            OwnCode(config.app_paths), table.lookup, config.stack_depth, full=config.stack == "full"
        )
        self._explainer = Explainer(stacks, table, config.threshold_s)
        tracer = scope.tracer(tracer_provider)
        self._instruments = instruments(meter_provider)
        self._functions = Distinct(config.max_functions)
        self._routes = Distinct(10 * config.max_functions)
        self._hang_after_s = config.hang_after_ms / 1000
        flush = Flush(
            lambda: (
                tracer_provider or trace.get_tracer_provider(),
                logger_provider or get_logger_provider(),
                meter_provider or get_meter_provider(),
            )
        )
        self._reports = Reports(
            config,
            self.worker.defer,
            stacks=stacks,
            instruments=self._instruments,
            functions=self._functions,
            flush=flush,
            tracer=tracer,
            logger_provider=logger_provider,
        )
        self._saturation = Saturation(
            config,
            self.worker.defer,
            may_report=self._reports.may_report,
            stacks=stacks,
            instruments=self._instruments,
            functions=self._functions,
            routes=self._routes,
            flush=flush,
            tracer=tracer,
            logger_provider=logger_provider,
        )
        self._delays = Delays(
            config,
            self.worker,
            instruments=self._instruments,
            functions=self._functions,
            routes=self._routes,
            tracer=tracer,
            logger_provider=logger_provider,
        )

    def begin(self) -> None:
        """Hook spans and let the gauges observe; after this the runtime may call."""
        self.patches.when_imported("opentelemetry.sdk.trace", self._hook_spans)
        demand.variable = variable()
        self._instruments.threshold_s = self.threshold_s
        self._instruments.busy.begin(self._monitors())
        self._instruments.take_samples = self._count_samples
        self._instruments.monitors = self._monitors

    def _hook_spans(self, sdk: Any) -> None:
        span_hooks.install(
            self.patches,
            sdk,
            threshold_s=self.threshold_s,
            charge=self.span_ending,
            unknown=self._unknown,
        )

    def release_spans(self) -> None:
        """Take the hooks on spans away. First of all: a span that ends later would leave something behind."""
        self.patches.restore()

    def end(self) -> None:
        """Let the gauges observe nothing any more, and deliver what is pending, for a second at most."""
        self._instruments.monitors = self._instruments.take_samples = tuple
        self.worker.stop()

    # -- called by the runtime and the hooks ---------------------------------------------------

    def span_ending(self, monitor: Monitor, span: Any, ended: float, end_time: int | None) -> None:
        """Charge the running callback's stretches to ``span`` while it can still take an event."""
        running = self._running(monitor)
        started_ns = start_unix_ns(span)
        if started_ns is None or not span.is_recording():
            return
        wall_ns = time_ns()
        if end_time is not None and end_time < wall_ns:
            ended -= (wall_ns - end_time) / 1e9
            wall_ns = end_time
        age = (wall_ns - started_ns) / 1e9
        # A clock that was set back makes the span start in the future: it then covers nothing.
        stretches = running.charges.take(monitor.started, ended - age, ended, self.threshold_s)
        if stretches:
            running.begin(monitor.started)
            sought = guard.call(_SEEK, self._seek, running, monitor, monitor.started, ended)
            if sought is not None:  # the event tells how many
                sought.victims.expect((monitor.started, ended, {span.get_span_context().trace_id}))
            self._take(
                running, monitor, stretches, running_target(monitor), span, within=(started_ns, wall_ns)
            )
            if sought is not None:  # to report it took time, in which nobody else has come
                running.sought = sought._replace(at=perf_counter())

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
        # Before anything of the loop goes on.
        sought: _Sought | None = None
        if monitor.turns:
            # Whatever it meets in the loop's queue: the block is reported.
            sought = guard.call(_SEEK, self._seek, running, monitor, started, ended)
        if not (running.reported and running.charges.cover(started, ended, self.threshold_s)):
            current = current_span(python_context)
            if sought is not None:
                sought.victims.expect((started, ended, {current.get_span_context().trace_id}))
            self._report_rest(running, monitor, Stretch(started, ended), target, current)
        running.filling.lags.append((ended, ended - started))  # so long it kept others waiting
        running.seen = []  # it holds spans
        running.prefetched, running.sought = _NOTHING_PREFETCHED, None
        running.search.forget()
        reported, running.reported = running.reported, []
        charged, observed, carrier = reported[0]
        for each in reported:
            if each[1].duration_s > observed.duration_s:
                charged, observed, carrier = each
        if sought is not None:
            _, aftermath, victims = sought
            victims.charge(running.cost_s)
            traces = {charged.get_span_context().trace_id}
            for each in reported:
                each[1].count_delayed = victims.count
                traces.add(each[0].get_span_context().trace_id)
            victims.blame(Culprit(observed, started, ended, charged, carrier, traces))
            aftermath.follow(monitor, ended, monitor.turns, victims)
        self.worker.defer(lambda: self._record(charged, observed.block, ended - started))

    def callback_running(self, monitor: Monitor, started: float, now: float) -> None:
        """Note the span of a long callback; report one that does not come back, while it lasts.

        On the watchdog's thread.
        """
        running = self._running(monitor)
        if now - started >= self.threshold_s:  # it will have made others wait, and these be looked for
            self._foresee(running, monitor, started, now)
        if running.seen_callback != started:
            running.seen_callback, running.seen, running.hang_due = started, [], self._hang_after_s
        seen = running.seen  # this list, not the one that takes its place when the callback is over
        hangs = 0 < running.hang_due <= now - started
        if not hangs and len(seen) >= MAX_SEEN:
            return
        target, python_context = running_elsewhere(monitor)
        if python_context is None and target.task is not None:
            python_context = context_of(target.task)
        span = span_read_from(python_context)
        if monitor.is_over(started):  # the span may be that of another callback
            return
        if is_valid(span) and len(seen) < MAX_SEEN:
            seen.append((now, span))
        self._prepare(monitor, started)
        if not hangs or is_our_callback(target.callback):
            return
        while running.hang_due <= now - started:
            running.hang_due *= 2
        evidence = monitor.evidence_so_far(now)
        stretch = Stretch(started, now)
        observed = Observed(monitor, evidence, *stretch, target, self._explainer.explain, ongoing=True)
        self._reports.add_ongoing(monitor, span, observed)

    @staticmethod
    def _foresee(running: _Running, monitor: Monitor, started: float, now: float) -> None:
        foreseen = running.search.foresee(monitor, started, now)
        if foreseen is not None:
            running.prefetched = started, prefetch(foreseen.timers)
            if monitor.is_over(started):  # nobody asks for it any more
                running.prefetched = _NOTHING_PREFETCHED

    def _prepare(self, monitor: Monitor, started: float) -> None:
        """Read what was seen last of a callback that is still running: at its end there is little time."""
        watch = monitor.watch
        if watch is not None and watch.started == started and watch.looks:
            self._explainer.prepare(monitor, watch)

    def lag_measured(self, monitor: Monitor, lag_s: float) -> None:
        """Record how late a heartbeat ran."""
        self._running(monitor).filling.lags.append((perf_counter(), lag_s))
        self._instruments.lag.record(lag_s, {attributes.LOOP_TYPE: monitor.loop_type}, context.Context())

    def loop_waited(self, monitor: Monitor, wait: Wait) -> None:
        """Report that a loop which rested could not run on, on the span of whoever kept it from that."""
        keeper = wait.found.keeper
        span = span_read_from(keeper.context) if keeper is not None else trace.INVALID_SPAN
        observed = waits.observe(wait, monitor, self._stacks, self._table, self.threshold_s)
        if not wait.found.again:
            self._report_wait(monitor, observed, span)
        self.worker.defer(lambda: self._record(span, observed.block, observed.duration_s))

    def _report_wait(self, monitor: Monitor, observed: Observed, span: Span) -> None:
        began, ended = observed.began, observed.ended
        # What the watchdog tells of is over: nobody can be asked any more who waited.
        here = monitor.thread_id == get_ident()
        aftermath = self._running(monitor).search.begin(monitor, began) if here else None
        victims = self._delays.new_victims(began, ended) if aftermath is not None else None
        if aftermath is not None and victims is not None:
            victims.look(chain(_first_of(monitor), aftermath.waiting(ended)))
            observed.count_delayed = victims.count
            traces = {span.get_span_context().trace_id}
            victims.expect((began, ended, traces))
        carrier = self._reports.add(observed, span, takes_event=span.is_recording())
        if aftermath is not None and victims is not None:
            victims.blame(Culprit(observed, began, ended, span, carrier, traces))
            aftermath.follow(monitor, ended, TURNS_AFTER_REST, victims)

    # -- how full loops are -------------------------------------------------------------------------

    def loop_full(self, monitor: Monitor, stretch: BusyStretch) -> None:
        """Report a loop that has no rest."""
        self._saturation.full(monitor, self._running(monitor).filling, stretch)

    def loop_sampled(self, monitor: Monitor, samples: Sequence[Sample]) -> None:
        """Count what a loop was doing."""
        self._saturation.sampled(monitor, self._running(monitor).filling, samples)

    def _count_samples(self) -> None:
        self._fetch_samples()
        self._saturation.name()

    # -- who had to wait ----------------------------------------------------------------------------

    def _seek(self, running: _Running, monitor: Monitor, started: float, now: float) -> _Sought | None:
        """Find who waits for the running callback by now; those found less than a moment ago will do."""
        sought = running.sought
        if sought is not None and now - sought.at < SHORTEST_S:
            return sought
        search = running.search
        is_first = not search.has_begun
        aftermath = search.begin(monitor, started)
        if aftermath is None:
            return None
        if is_first:  # the watchdog could not do it yet
            self._foresee(running, monitor, started, now)
        callback, prefetched = running.prefetched
        victims = self._delays.new_victims(started, now, prefetched if callback == started else None)
        if victims is None:
            return None
        victims.look(aftermath.waiting(perf_counter(), search.foreseen))
        running.sought = sought = _Sought(now, aftermath, victims)
        return sought

    # -- a stretch --------------------------------------------------------------------------------

    def _running(self, monitor: Monitor) -> _Running:
        running: _Running | None = monitor.state.get(self)
        if running is None:
            running = monitor.state[self] = _Running()
        return running

    def _take(
        self,
        running: _Running,
        monitor: Monitor,
        stretches: list[Stretch],
        target: Target,
        span: Any,
        current: Span = trace.INVALID_SPAN,
        within: tuple[int, int] | None = None,
    ) -> None:
        """Report stretches that end now: on ``span``; with none that can take them, as under ``current``.

        ``within`` is, on the wall clock, when ``span`` began and when the stretches had ended.
        """
        began_s = thread_time()
        evidence = monitor.evidence(perf_counter())
        for stretch in stretches:
            observed = self._observed(monitor, evidence, stretch, target)
            if within is not None:
                observed.keep_within(*within)
            if running.sought is not None:
                observed.count_delayed = running.sought.victims.count
            over = span
            if span is None:
                # A request that blocked, left its span's scope and returned has no current span any more.
                over = running.active_in(stretch, monitor.started) or current
            carrier = self._reports.add(observed, over, takes_event=span is not None)
            running.reported.append((over, observed, carrier))
        running.cost_s += thread_time() - began_s

    def _report_rest(
        self, running: _Running, monitor: Monitor, callback: Stretch, target: Target, span: Span
    ) -> None:
        """Report what no span that ended has taken of a callback; ``span`` was current at its end."""
        started, ended = callback
        if span.is_recording():
            started_ns = start_unix_ns(span)
            if started_ns is not None:
                wall_ns = time_ns()
                age = (wall_ns - started_ns) / 1e9 - (perf_counter() - ended)
                taken = running.charges.take(started, ended - age, ended, self.threshold_s)
                if taken:
                    self._take(running, monitor, taken, target, span, within=(started_ns, wall_ns))
        left = running.charges.rest(started, ended, self.threshold_s)
        if left:
            self._take(running, monitor, left, target, None, span)
        if not running.reported:  # stretches shorter than a threshold, each under a span of its own
            whole = self._observed(monitor, monitor.evidence(ended), callback, target)
            carrier = None if self._reports.is_ignored(whole) else span.get_span_context()
            running.reported.append((span, whole, carrier))

    def _observed(self, monitor: Monitor, evidence: Evidence, stretch: Stretch, target: Target) -> Observed:
        explainer, (began, ended) = self._explainer, stretch
        settled = explainer.settled(evidence, began, ended)
        return Observed(monitor, evidence, began, ended, target, explainer.explain, settled=settled)

    # -- on the worker's thread ---------------------------------------------------------------------

    def _record(self, span: Span, block: Block, duration_s: float) -> None:
        function = self._functions(block.function) if block.function is not None else None
        route = route_and_name(span)[0]
        self._instruments.block_duration.record(
            duration_s,
            attributes.of_metric(block, function, self._routes(route) if route is not None else None),
            trace.set_span_in_context(span, context.Context()) if is_valid(span) else context.Context(),
        )
