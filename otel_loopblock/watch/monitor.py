"""One monitor per loop: what runs now, since when, and what of it has been reported already.

The core writes ``started`` and ``busy`` on every callback; everything else happens per block. A monitor must
not keep its loop alive, and knows nothing of OpenTelemetry.
"""

from __future__ import annotations

import asyncio
import threading
from _thread import get_ident, get_native_id
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Protocol

from otel_loopblock import core, guard
from otel_loopblock.clocks import clock_gettime, is_plausible, perf_counter, process_time, thread_time
from otel_loopblock.naming import is_our_callback
from otel_loopblock.watch import keeper, lateness, waits
from otel_loopblock.watch.collecting import collected_between, collecting
from otel_loopblock.watch.demand import Wants, demand
from otel_loopblock.watch.evidence import Delay, Evidence, Reading, Scheduling, Watch, queued_between
from otel_loopblock.watch.facts import is_closed
from otel_loopblock.watch.load import BusyStretch, Sample
from otel_loopblock.watch.target import Target, task_of

MAX_COLLECTIONS = 64
"""Runs of the garbage collector kept per loop."""


class Listener(Wants, Protocol):
    """What wants to know of blocks. Its methods must not block; an error in one is caught and counted."""

    def callback_blocked(
        self, monitor: Monitor, started: float, ended: float, target: Target, context: Context | None
    ) -> None:
        """A callback over its threshold has ended; called on the loop's thread."""

    def callback_running(self, monitor: Monitor, started: float, now: float) -> None:
        """A callback has run for more than a quarter of the threshold; called on the watchdog's thread."""

    def lag_measured(self, monitor: Monitor, lag_s: float) -> None:
        """A heartbeat ran ``lag_s`` late; called on the loop's thread."""

    def loop_waited(self, monitor: Monitor, wait: waits.Wait) -> None:
        """A loop that rested wanted to run and could not.

        Called on its thread before it runs on; of a standstill of the process, on the watchdog's.
        """

    def loop_full(self, monitor: Monitor, stretch: BusyStretch) -> None:
        """A loop has no rest, or had none until now; on the watchdog's thread, twice a second while that
        lasts."""

    def loop_sampled(self, monitor: Monitor, samples: Sequence[Sample]) -> None:
        """What a loop was doing; called on any thread."""


class Listeners:
    """Those that there are now."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: tuple[Listener, ...] = ()
        """Replaced, never changed."""


listeners = Listeners()
"""Those of this process."""


class Following(Protocol):
    """What wants to know of every callback of a loop that ends, however short."""

    def callback_ended(self, callback: Any) -> None:
        """The callback has ended; on the loop's thread."""

    def loop_stopped(self) -> None:
        """The loop runs no more, for now or for good; on its thread."""


class Monitor(core.Monitor):
    """The state of one loop.

    ``started`` is 0.0 while no callback runs. A callback that runs the loop again from within (as
    nest_asyncio does) leaves 0.0 behind: its own time is then not one stretch and is not judged.

    Args:
        loop_type: value of ``event_loop.type``.
    """

    __slots__ = (
        "__weakref__",
        "_at_beat",
        "_run_began",
        "_thread",
        "asked_since",
        "beating",
        "collections",
        "ended",
        "following",
        "listening_since",
        "loop_type",
        "poll",
        "state",
        "thread_id",
        "turns",
        "watch",
    )

    def __init__(self, loop_type: str) -> None:
        self.threshold = demand.threshold_s
        """How long a callback must run that the core tells of it: 0 while a follower wants all of them."""
        self.ended = 0.0
        """``started`` of the last callback over the threshold that has come to its end, whether that has been
        reported yet or not."""
        self.unwatched = guard.call
        """What the loop calls of ours, as each heartbeat, is no reason to wake an idle loop's watchdog."""
        self.loop_type = loop_type
        self.thread_id = 0
        self._thread: threading.Thread | None = None
        self.watch: Watch | None = None
        self.poll: Callable[[Monitor], None] | None = None
        """On a loop that no hook sees: what the watchdog calls at each tick to learn of what the core is not
        told of."""
        self.listening_since = 0.0
        """``perf_counter`` when the loop was told to listen for connections first; 0.0 where it never was."""
        self.asked_since = 0.0
        """The same of the first connection to a server that is known; of others, when the loop listened."""
        self.beating = False
        """Whether its heartbeat runs."""
        self.turns = 0
        """Turns of the loop until everything that the last callback made wait has been woken; 0 where
        nobody can tell who waited."""
        self.following: tuple[Following, ...] = ()
        """Who wants to know of every callback for now; what else they do here is their own affair."""
        self.collections: tuple[tuple[float, float], ...] = ()
        """Runs of the garbage collector, oldest first: replaced, never changed, as one may come while another
        thread, or this one, copies them."""
        self._at_beat = 0.0, 0.0
        """CPU seconds of the process, and ``busy``, at the last heartbeat."""
        self._run_began = 0.0
        self.state: dict[object, Any] = {}
        """What the listeners keep per loop, by listener."""

    def get_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop; ``None`` once it has died, or is not monitored any more."""
        reference = self.loop
        return reference() if reference is not None else None

    @property
    def is_open(self) -> bool:
        """Whether the loop is alive and not closed."""
        loop = self.get_loop()
        return loop is not None and not is_closed(loop)

    def release(self) -> None:
        """Let go of everything: the loop has died, and the core may keep this for a while."""
        self.state, self.following, self.watch, self.poll = {}, (), None, None

    def end_start_up(self) -> None:
        """Nothing that begins from now on is the start-up of a server."""
        if self.asked_since == 0.0:
            self.asked_since = perf_counter()

    # -- its thread -----------------------------------------------------------------------------

    def enter_thread(self) -> bool:
        """Learn the thread that runs the loop, which calls this; whether it is another one than before."""
        thread_id = get_ident()
        if thread_id == self.thread_id:
            return False
        self.native_id = get_native_id()
        self._thread = threading.current_thread()
        self.watch = None
        self.clock = core.thread_clock()
        self.thread_id = thread_id
        self.is_main = self._thread is threading.main_thread()
        self.read_clocks()  # its very first callback may block
        return True

    def begin_run(self) -> None:
        """The loop begins to run; call it on its thread. What that did until now is no block and no wait."""
        if not self.enter_thread():
            self.read_clocks()
        self.begin_rest()
        self.stopped = 0
        self._at_beat = 0.0, 0.0
        self._run_began = perf_counter()

    def read_clocks(self) -> None:
        """Have what the thread did until now be no part of the next block; call it on the loop's thread."""
        self.before_cpu = thread_time()
        self.before_process_cpu = process_time()
        self.before_busy = self.busy
        self.before_at = perf_counter()

    @property
    def thread_name(self) -> str:
        """Of the thread that runs the loop."""
        return self._thread.name if self._thread is not None else ""

    # -- the running callback -------------------------------------------------------------------

    def evidence(self, now: float) -> Evidence:
        """What is known of the running callback; call it on the loop's thread.

        Args:
            now: ``perf_counter``.
        """
        cpu = thread_time() if self.clock is not None else None
        return self._evidence(Reading(now, cpu, process_time(), self.scheduling(), self.busy))

    def evidence_so_far(self, now: float) -> Evidence:
        """The same, called on another thread while the callback runs on."""
        return self._evidence(Reading(now, self.cpu_seconds(), process_time(), None, self.busy))

    def cpu_seconds(self) -> float | None:
        """CPU seconds of the loop's thread, on any thread; ``None`` where that cannot be told."""
        clock = self.clock
        try:
            return clock_gettime(clock) if clock is not None and clock_gettime is not None else None
        except OSError:  # the thread has ended
            return None

    def scheduling(self) -> Scheduling | None:
        """What the kernel's scheduler counts of the loop's thread."""
        found = core.scheduling(self.native_id) if demand.watching else None
        return Scheduling(*found) if found is not None else None

    def before(self) -> Reading | None:
        """The clocks while no callback was long, as the core has read them last."""
        if self.before_at == 0.0:
            return None
        cpu = self.before_cpu if self.before_cpu >= 0.0 else None
        return Reading(self.before_at, cpu, self.before_process_cpu, None, self.before_busy)

    def _evidence(self, end: Reading) -> Evidence:
        watch = self.watch
        if watch is None or watch.started != self.started:
            watch = Watch(self.started, self.before(), 1)
        delays, lasting = watch.delays, self._lasting_delay(watch, end)
        if lasting is not None:
            delays = (*delays, lasting)
        wake_ups = watch.wake_ups + (lasting is not None)
        return Evidence(
            watch.started, watch.looks, watch.before, end, delays, wake_ups, self.collections, watch.throttled
        )

    def _lasting_delay(self, watch: Watch, end: Reading) -> Delay | None:
        """What the watchdog waits for just now, where it should have come by."""
        waiter = self.waiter
        if waiter is None:
            return None
        due, woke = waiter.due, waiter.woke
        if due == 0.0 or end.at - due < demand.tick_s:
            return None
        before = watch.looks[-1] if watch.looks else watch.before
        cpu_s = (
            end.thread_cpu - self.woke_cpu if end.thread_cpu is not None and self.woke_cpu >= 0.0 else None
        )
        queued_s = waiter.queued() if not woke else 0.0
        return lateness.explain(
            due,
            (woke or end.at) if core.TELLS_LATENESS else None,
            end.at,
            cpu_s=cpu_s,
            loop_queued_s=queued_between(before, end),
            own_queued_s=queued_s,
            asked=waiter.asked() if woke else None,
        )

    def is_over(self, started: float) -> bool:
        """Whether the callback that began then has come to its end.

        What another thread leaves for that moment may come too late to be fetched: leave it, then ask, and if
        so drop it.

        Args:
            started: ``perf_counter`` at the callback's start.
        """
        return self.started != started or self.ended == started

    def callback_ended(self, ended: float, callback: Any, context: Context | None, turns: int, /) -> None:
        """Report the callback that just ended over the threshold; a shorter one only following are told of.

        One of ours is no block of the application's and is not reported. What this raises is never ours.

        Args:
            ended: ``perf_counter`` at its end.
            callback: what the loop called.
            context: the context it ran in; ``None`` when that is the current one.
            turns: how many turns of the loop it takes until what came from the outside during the
                callback has been seen and has woken its tasks.
        """
        try:
            for each in self.following:
                each.callback_ended(callback)
            if ended - self.started >= demand.threshold_s:
                self.blocked_at = ended
                self._callback_ended(ended, callback, context, turns)
        except Exception:
            self.following, self.threshold = (), demand.threshold_s
            guard.failed("report a block")

    def _callback_ended(self, ended: float, callback: Any, context: Context | None, turns: int) -> None:
        started = self.started
        if is_our_callback(callback) or not is_plausible(ended - started):
            return
        self.ended = started  # before the listeners fetch what was left for them
        self.turns = turns
        self.enter_thread()
        self.report(ended, Target(callback, task_of(callback)), context)

    def report(self, ended: float, target: Target, context: Context | None) -> None:
        """Tell the listeners of the callback that began at ``started`` and was over the threshold."""
        started = self.started
        for listener in listeners.now:
            if ended - started >= listener.threshold_s:
                guard.call("report a block", listener.callback_blocked, self, started, ended, target, context)

    # -- its rests ------------------------------------------------------------------------------

    def rest_ended(self, since: float, now: float, queued: float, runs: int, /) -> None:
        """Tell what the loop had to wait for before the callback that begins now.

        Args:
            since: ``perf_counter`` at a moment of the rest before.
            now: ``perf_counter``.
            queued: seconds that the loop's thread could have run since but had no CPU.
            runs: how often it got one.
        """
        guard.call("tell what a loop waited for", self._rest_ended, since, now, queued, runs, None)

    def beat(self, due: float, now: float) -> None:
        """The same for a heartbeat, of which is known when it was due.

        Args:
            due: ``perf_counter`` when it was to run.
            now: ``perf_counter``.
        """
        waiter, since = self.waiter, self.rest_at
        if waiter is None:
            return
        queued_s, runs = self.rest_queued, self.rest_runs
        self.begin_rest()
        queued_s, runs = self.rest_queued - queued_s, self.rest_runs - runs
        process_cpu, busy = self._at_beat
        self._at_beat = process_time(), self.busy
        due = max(due, self._run_began)
        if now - due < demand.threshold_s:
            keeper.threads.refresh(self._at_beat[0])
        elif since and waiter.asleep:
            self._rest_ended(since, now, queued_s, runs, due)
        elif process_cpu:  # a callback has begun since: of the rest before nothing is known any more
            rest = waits.Rest(due, now, queued_s, runs, 0.0, process_time() - process_cpu, due)
            wait = waits.stood_still(rest, demand.threshold_s, self.busy - busy)
            if wait is not None:
                self.tell_wait(wait)
        if waiter.asleep:
            self.read_clocks()

    def _rest_ended(self, since: float, now: float, queued_s: float, runs: int, due: float | None) -> None:
        cpu_s = thread_time() - self.before_cpu
        process_cpu_s = process_time() - self.before_process_cpu
        rest = waits.Rest(since, now, queued_s, runs, cpu_s, process_cpu_s, due)
        wait = waits.judge(rest, demand.threshold_s)
        keeper.threads.read()
        if wait is not None:
            self.tell_wait(wait)

    def tell_wait(self, wait: waits.Wait) -> None:
        """Tell the listeners what the loop waited for."""
        for listener in listeners.now:
            if wait.ended - wait.began >= listener.threshold_s:
                guard.call("report what a loop waited for", listener.loop_waited, self, wait)

    # -- the garbage collector ------------------------------------------------------------------

    def collected(self, began: float, now: float) -> float:
        """Seconds in the garbage collector between two moments, with the run that may last; any thread."""
        since = collecting.since
        lasting = max(0.0, now - max(since, began)) if since else 0.0
        return lasting + collected_between(self.collections, began, now)

    def garbage_collected(self, started: float, ended: float) -> None:
        """Note a run of the garbage collector on this thread (called from ``gc.callbacks``)."""
        self.collections = (*self.collections[1 - MAX_COLLECTIONS :], (started, ended))
