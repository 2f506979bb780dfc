"""The listener of a test: collects the blocks between two moments. Knows nothing of pytest.

Several may be open at once, in one thread or in many; each sees what happens on the loops of its own
thread, and of threads in which none is open (the loop of a ``TestClient`` has a thread of its own).

Opened around every test of a suite: :mod:`~otel_loopblock.testing.builder` comes with the first block.
"""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from functools import lru_cache
from typing import TYPE_CHECKING

from otel_loopblock.clocks import perf_counter
from otel_loopblock.naming import is_our_callback
from otel_loopblock.runtime import runtime
from otel_loopblock.testing.own_lines import is_own
from otel_loopblock.watch.evidence import Evidence
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.target import Target

if TYPE_CHECKING:
    from otel_loopblock.explain.block import Block
    from otel_loopblock.explain.stretches import Charges
    from otel_loopblock.testing.builder import Builder
    from otel_loopblock.watch.load import BusyStretch, Sample
    from otel_loopblock.watch.monitor import Monitor
    from otel_loopblock.watch.waits import Wait

MAX_BLOCKS = 1000
"""Blocks kept by one detection."""

ASKED_TO_COLLECT = frozenset({"gc.collect", "gc.freeze"})
"""Calls in which the garbage collector's time counts like any other."""

_opened: list[Detection] = []
_lock = threading.Lock()


class Detection:
    """Collects blocks from :meth:`open` to :meth:`close`.

    Args:
        threshold_s: callbacks that run at least this long, in seconds, are blocks.
        ignored: patterns of functions, see :meth:`ignore`.
        app_paths: folders of the application's own code, as in :class:`~otel_loopblock.config.Config`.
        notice: called with each block when it is found, on the loop's thread; and with ``None``, on the
            watchdog's, while a callback is over the threshold that has not ended.
        collected: called, on the loop's thread, with the seconds of a callback that is no block because of
            the garbage collector (:func:`is_excused`); ``None``: it is kept like any other.
        own_lines: ``ignore``: blocks in the tests' own lines are left out.
    """

    heartbeat_interval_s = 0.0
    watchdog = True
    max_samples = 32
    saturation_s = 0.0
    samples = False

    def __init__(
        self,
        threshold_s: float,
        ignored: Iterable[str] = (),
        app_paths: tuple[str, ...] = (),
        notice: Callable[[Block | None], None] | None = None,
        collected: Callable[[float], None] | None = None,
        own_lines: str = "fail",
    ) -> None:
        self.threshold_s = threshold_s
        self.blocks: list[Block] = []
        self.entered = 0.0
        """``perf_counter`` from when on what callbacks do is charged."""
        self._notice = notice
        self._collected = collected
        self._leaves_out_own = own_lines == "ignore"
        self._app_paths = app_paths
        self._builder: Builder | None = None
        self._patterns: tuple[str, ...] = ()
        self._ignored: re.Pattern[str] | None
        self.ignore(ignored)
        self.thread_id = 0
        """The thread that it was opened on, whose loops are its own."""
        self._charges: dict[Monitor, Charges] = {}
        self._lock = threading.RLock()
        self._closed = True

    def ignore(self, patterns: Iterable[str]) -> None:
        """Leave out blocks from now on whose culprit, call or stack has a function of such a name.

        Args:
            patterns: qualified names; ``*``, ``?`` and ``[...]`` as in :mod:`fnmatch`.
        """
        self._patterns = (*self._patterns, *patterns)
        self._ignored = _compiled(self._patterns)

    def open(self) -> None:
        """Begin; call it on the thread whose loops matter most."""
        self.begin()
        with _lock:
            _opened.append(self)
        runtime.add(self)

    def close(self) -> None:
        """End; a callback that still runs is charged until now."""
        self.end()
        with _lock:
            _opened.remove(self)
        runtime.remove(self)

    def begin(self) -> None:
        """Begin anew, between :meth:`open` and :meth:`close`."""
        self.blocks = []
        self._charges = {}
        self.thread_id = threading.get_ident()
        self.entered = perf_counter()
        self._closed = False

    def end(self) -> None:
        """Charge what runs until now, and pause."""
        if loops.monitors_in_callbacks():
            self.charge_running()
        self.pause()

    def pause(self) -> None:
        """Remain a listener that takes nothing until it begins anew."""
        with self._lock:
            self._closed = True

    def charge_running(self) -> None:
        """Take the blocks of callbacks that have not ended yet, up to now."""
        now = perf_counter()
        here = threading.get_ident()
        for monitor in loops.monitors_in_callbacks():
            started = monitor.started
            if started == 0.0 or now - max(started, self.entered) < self.threshold_s:
                continue
            from otel_loopblock.testing import builder

            if monitor.thread_id == here:
                evidence, target = monitor.evidence(now), builder.target_here(monitor)
            else:
                evidence, target = monitor.evidence_so_far(now), builder.target_elsewhere(monitor)
                if is_our_callback(target.callback):
                    continue
            self._charge(monitor, started, now, evidence, target)

    def settle(self) -> None:
        """Take what was found here from the detections around this one: it has been raised already.

        Call it after :meth:`close`, on the same thread and in the same callback.
        """
        from otel_loopblock.explain.stretches import Charges

        now = perf_counter()
        with _lock:
            around = [other for other in _opened if not other._closed and other.entered <= self.entered]
        for other in around:
            with other._lock:
                other.blocks = [block for block in other.blocks if not self._answers_for(block)]
                for monitor in loops.monitors():
                    if monitor.started != 0.0 and other._sees(monitor):
                        charges = other._charges.setdefault(monitor, Charges())
                        charges.take(monitor.started, self.entered, now, other.threshold_s)

    def _answers_for(self, block: Block) -> bool:
        """Whether what was found here leaves less than a threshold of a block of another detection."""
        ended = block.started_s + block.duration_s
        overlaps = (
            min(ended, own.started_s + own.duration_s) - max(block.started_s, own.started_s)
            for own in self.blocks
            if own.thread_id == block.thread_id
        )
        left = block.duration_s - sum(overlap for overlap in overlaps if overlap > 0)
        return left < block.threshold_s

    def _sees(self, monitor: Monitor) -> bool:
        thread_id = monitor.thread_id
        if thread_id == self.thread_id:
            return True
        with _lock:
            return all(other._closed or other.thread_id != thread_id for other in _opened)

    def _charge(
        self, monitor: Monitor, started: float, ended: float, evidence: Evidence, target: Target
    ) -> None:
        if self._closed or not self._sees(monitor):
            return
        with self._lock:
            if self._closed or len(self.blocks) >= MAX_BLOCKS:
                return
            from otel_loopblock.explain.stretches import Charges

            charges = self._charges.setdefault(monitor, Charges())
            stretches = charges.take(started, self.entered, ended, self.threshold_s)
            if not stretches:
                return
            from otel_loopblock.testing.builder import Builder, names_in

            if self._builder is None:
                self._builder = Builder(self._app_paths, self.threshold_s)
            for began, until in stretches:
                block = self._builder.build(monitor, evidence, began, until, target)
                ignored = self._ignored
                if ignored is not None and any(map(ignored.match, names_in(block))):
                    continue
                if self._leaves_out_own and is_own(block):
                    continue
                self.blocks.append(block)
                if self._notice is not None:
                    self._notice(block)

    # -- called by the runtime ------------------------------------------------------------------

    def callback_blocked(
        self, monitor: Monitor, started: float, ended: float, target: Target, context: Context | None
    ) -> None:
        """Take the part of a callback that lies after :meth:`open`."""
        evidence, lasted = monitor.evidence(ended), ended - max(started, self.entered)
        if self._collected is None or not self._is_collection(monitor, evidence, started, lasted):
            self._charge(monitor, started, ended, evidence, target)
        elif lasted >= self.threshold_s:
            self._collected(lasted)

    def _is_collection(self, monitor: Monitor, evidence: Evidence, started: float, lasted: float) -> bool:
        charges = self._charges.get(monitor)
        if self._closed or not self._sees(monitor) or (charges is not None and charges.callback == started):
            return False
        ended = evidence.end.at
        return is_excused(monitor.collected(ended - lasted, ended), lasted, self.threshold_s) and not any(
            look.call in ASKED_TO_COLLECT for look in evidence.looks
        )

    def callback_running(self, monitor: Monitor, started: float, now: float) -> None:
        """Have it noticed: it is reported when it ends, or when the detection does."""
        notice, began = self._notice, max(started, self.entered)
        if notice is None or self._closed or now - began < self.threshold_s:
            return
        if self._collected is None or not is_excused(
            monitor.collected(began, now), now - began, self.threshold_s
        ):
            notice(None)

    def loop_waited(self, monitor: Monitor, wait: Wait) -> None:
        """Nothing: what an offloaded function does to the loop, ``measure_offload`` tells."""

    def lag_measured(self, monitor: Monitor, lag_s: float) -> None:
        """Nothing: no heartbeat was asked for."""

    def loop_full(self, monitor: Monitor, stretch: BusyStretch) -> None:
        """Nothing: that is for :mod:`~otel_loopblock.testing.saturation`."""

    def loop_sampled(self, monitor: Monitor, samples: Sequence[Sample]) -> None:
        """Nothing: that is for :mod:`~otel_loopblock.testing.saturation`."""


def is_excused(foreign_s: float, duration_s: float, threshold_s: float) -> bool:
    """Whether a block is none of the tested code's doing.

    It is not when it consists for the most part of time that says something of the machine or of the whole
    run, and is shorter than its threshold without that.

    Args:
        foreign_s: seconds of it in the garbage collector, or without a CPU.
        duration_s: all of it.
        threshold_s: what is exceeded.
    """
    own_s = duration_s - foreign_s
    return own_s < threshold_s and own_s < 0.5 * duration_s


@lru_cache(maxsize=100)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else None
