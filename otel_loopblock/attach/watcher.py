"""The listener that tells the command of blocks: what, why, who waited. Knows no OpenTelemetry.

On the loop's thread it notes what happened and who waited; a thread of its own explains and sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context

from otel_loopblock.attach.messages import Message, of_block
from otel_loopblock.attach.waiters import Waiters, requests
from otel_loopblock.clocks import perf_counter
from otel_loopblock.config import Config
from otel_loopblock.delayed.search import Search
from otel_loopblock.emit.worker import Worker
from otel_loopblock.explain import waits
from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.block import Observed
from otel_loopblock.explain.explainer import Explainer
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import Stacks
from otel_loopblock.naming import is_our_callback
from otel_loopblock.watch.load import BusyStretch, Sample
from otel_loopblock.watch.looks import running_elsewhere
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.target import Target
from otel_loopblock.watch.waits import Wait

MAX_BEHIND = 200
"""Blocks that wait to be told of; what comes beyond that is counted only."""


class _Running:
    """What is kept of one loop."""

    __slots__ = ("hang_due", "hanging", "search")

    def __init__(self) -> None:
        self.search = Search()
        self.hanging = 0.0
        """Start of the callback that :attr:`hang_due` is about."""
        self.hang_due = 0.0


class Watcher:
    """Explains blocks and hands them on.

    Args:
        config: the options.
        send: sends a message; called on a thread of the watcher's own.
        follows: whether those who come to wait later are looked for; another listener may do that, and there
            is one at a time who can.
    """

    heartbeat_interval_s = 0.0
    saturation_s = 0.0
    samples = False
    watchdog = True

    def __init__(self, config: Config, send: Callable[[Message], None], *, follows: bool) -> None:
        self.threshold_s = config.threshold_s
        self.max_samples = config.max_samples
        self.missed = 0
        """Blocks that were too many to be told of."""
        self._hang_after_s = config.hang_after_ms / 1000
        self._follows = follows
        self._send = send
        self._request = requests()
        self._worker = Worker()
        self._table = table = AdviceTable()
        table.load_entry_points()
        table.register(config.advice)
        self._stacks = Stacks(OwnCode(config.app_paths), table.lookup, config.stack_depth)
        self._explainer = Explainer(self._stacks, table, config.threshold_s)

    def end(self) -> None:
        """Send what is pending, for a second at most, and end the thread."""
        self._worker.stop()

    # -- called by the runtime ------------------------------------------------------------------

    def callback_blocked(
        self, monitor: Monitor, started: float, ended: float, target: Target, context: Context | None
    ) -> None:
        """Note a block and who waits for it."""
        observed = self._observed(monitor, started, ended, target)
        waiters = Waiters(self._request, target.task, context, lambda waited: self._tell(observed, waited))
        running = self._running(monitor)
        search = running.search
        is_first = not search.has_begun
        aftermath = search.begin(monitor, started) if monitor.turns else None
        if aftermath is not None:
            if is_first:  # the watchdog could not do it yet
                search.foresee(monitor, started, ended)
            waiters.waited(aftermath.waiting(perf_counter(), search.foreseen))
            search.forget()
        if aftermath is not None and self._follows:
            aftermath.follow(monitor, ended, monitor.turns, waiters)
        else:
            waiters.ended()

    def callback_running(self, monitor: Monitor, started: float, now: float) -> None:
        """Look ahead for who will have waited; tell of a callback that does not come back."""
        running = self._running(monitor)
        if now - started >= self.threshold_s:
            running.search.foresee(monitor, started, now)
        if running.hanging != started:
            running.hanging, running.hang_due = started, self._hang_after_s
        if not 0 < running.hang_due <= now - started:
            return
        while running.hang_due <= now - started:
            running.hang_due *= 2
        target, _ = running_elsewhere(monitor)
        if not monitor.is_over(started) and not is_our_callback(target.callback):
            evidence = monitor.evidence_so_far(now)
            explain = self._explainer.explain
            self._tell(Observed(monitor, evidence, started, now, target, explain, ongoing=True), [])

    def lag_measured(self, monitor: Monitor, lag_s: float) -> None:
        """Nothing: no heartbeat was asked for."""

    def loop_waited(self, monitor: Monitor, wait: Wait) -> None:
        """Tell of a loop that rested and could not run on."""
        if not wait.found.again:
            self._tell(waits.observe(wait, monitor, self._stacks, self._table, self.threshold_s), [])

    def loop_full(self, monitor: Monitor, stretch: BusyStretch) -> None:
        """Nothing: not asked for."""

    def loop_sampled(self, monitor: Monitor, samples: Sequence[Sample]) -> None:
        """Nothing: not asked for."""

    # -------------------------------------------------------------------------------------------

    def _running(self, monitor: Monitor) -> _Running:
        running: _Running | None = monitor.state.get(self)
        if running is None:
            running = monitor.state[self] = _Running()
        return running

    def _observed(self, monitor: Monitor, started: float, ended: float, target: Target) -> Observed:
        return Observed(monitor, monitor.evidence(ended), started, ended, target, self._explainer.explain)

    def _tell(self, observed: Observed, waited: list[tuple[str, int]]) -> None:
        if self._worker.pending >= MAX_BEHIND:
            self.missed += 1
        else:
            self._worker.defer(lambda: self._send({"block": of_block(observed.block, waited)}))
