"""The listener of a test: collects the blocks between two moments. Knows nothing of pytest.

Several may be open at once, in one thread or in many; each sees what happens on the loops of its own
thread, and of threads in which none is open (the loop of a ``TestClient`` has a thread of its own).
"""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Iterable
from contextvars import Context
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from otel_loopblock import block as blocks
from otel_loopblock.advice import AdviceTable
from otel_loopblock.block import Block
from otel_loopblock.charge import Charges
from otel_loopblock.config import Config
from otel_loopblock.registry import registry
from otel_loopblock.samples import Evidence, Target
from otel_loopblock.stack import OwnCode, Stacks, to_frame

if TYPE_CHECKING:
    from otel_loopblock.monitor import Monitor

MAX_BLOCKS = 1000
"""Blocks kept by one detection."""

_opened: list[Detection] = []
_lock = threading.Lock()


class Detection:
    """Collects blocks from :meth:`open` to :meth:`close`.

    Args:
        config: ``threshold_ms``, ``ignore``, ``app_paths`` and ``max_samples`` are used.
    """

    heartbeat_interval_s = 0.0
    watchdog = True

    def __init__(self, config: Config) -> None:
        self.threshold_s = config.threshold_s
        self.max_samples = config.max_samples
        self.blocks: list[Block] = []
        stacks = Stacks(_own_code(config.app_paths), _advice().lookup)
        self._explainer = blocks.Explainer(stacks, _advice(), config.threshold_s)
        self._patterns: tuple[str, ...] = ()
        self._ignored: re.Pattern[str] | None
        self.ignore(config.ignore)
        self._thread_id = 0
        self._entered = 0.0
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
        registry.add(self)

    def close(self) -> None:
        """End; a callback that still runs is charged until now."""
        self.end()
        registry.remove(self)

    def begin(self) -> None:
        """Begin, as a listener that the registry has already."""
        self.blocks = []
        self._charges = {}
        self._thread_id = threading.get_ident()
        with _lock:
            _opened.append(self)
        self._entered = perf_counter()
        self._closed = False

    def end(self) -> None:
        """End, and remain a listener that takes nothing."""
        self.charge_running()
        with self._lock:
            self._closed = True
        with _lock:
            _opened.remove(self)
        self._charges = {}

    def charge_running(self) -> None:
        """Take the blocks of callbacks that have not ended yet, up to now."""
        now = perf_counter()
        here = threading.get_ident()
        for monitor in registry.monitors():
            started = monitor.started
            if started == 0.0 or now - max(started, self._entered) < self.threshold_s:
                continue
            if monitor.thread_id == here:
                self._charge(monitor, started, now, monitor.evidence(now), blocks.running_target(monitor))
            else:
                runner = blocks.runner_frame(monitor)
                target = blocks.running_target(monitor, runner)
                del runner
                self._charge(monitor, started, now, monitor.evidence_so_far(now), target)

    def settle(self) -> None:
        """Take what was found here from the detections around this one: it has been raised already.

        Call it after :meth:`close`, on the same thread and in the same callback.
        """
        now = perf_counter()
        with _lock:
            around = [other for other in _opened if other._entered <= self._entered]
        for other in around:
            with other._lock:
                other.blocks = [block for block in other.blocks if not self._answers_for(block)]
                for monitor in registry.monitors():
                    if monitor.started != 0.0 and other._sees(monitor):
                        charges = other._charges.setdefault(monitor, Charges())
                        charges.take(monitor.started, self._entered, now, other.threshold_s)

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
        if thread_id == self._thread_id:
            return True
        with _lock:
            return all(other._thread_id != thread_id for other in _opened)

    def _charge(
        self, monitor: Monitor, started: float, ended: float, evidence: Evidence, target: Target
    ) -> None:
        if self._closed or not self._sees(monitor):
            return
        with self._lock:
            if self._closed or len(self.blocks) >= MAX_BLOCKS:
                return
            charges = self._charges.setdefault(monitor, Charges())
            for stretch in charges.take(started, self._entered, ended, self.threshold_s):
                block = blocks.Observed(
                    monitor, evidence, stretch.began, stretch.ended, target, self._explainer
                ).block
                if not self._ignores(block):
                    self.blocks.append(block)

    def _ignores(self, block: Block) -> bool:
        if self._ignored is None:
            return False
        names = [to_frame(raw).function for raw in block.stack]
        if block.culprit is not None:
            names.append(block.culprit.function)
        names += [call for call in (block.call, block.leaf_call) if call is not None]
        return any(self._ignored.match(name) for name in names)

    # -- called by the registry -----------------------------------------------------------------

    def callback_blocked(
        self, monitor: Monitor, started: float, ended: float, target: Target, context: Context | None
    ) -> None:
        """Take the part of a callback that lies after :meth:`open`."""
        self._charge(monitor, started, ended, monitor.evidence(ended), target)

    def callback_running(self, monitor: Monitor, started: float, now: float) -> None:
        """Nothing: it is reported when it ends, or when the detection does."""

    def span_ending(self, monitor: Monitor, span: Any, ended: float, end_time: int | None) -> None:
        """Nothing: spans do not matter here."""

    def lag_measured(self, monitor: Monitor, lag_s: float) -> None:
        """Nothing: no heartbeat was asked for."""


@lru_cache(maxsize=100)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else None


@lru_cache(maxsize=100)
def _own_code(paths: tuple[str, ...]) -> OwnCode:
    """One per choice of paths, so that what it knows of files serves every test."""
    return OwnCode(paths)


@lru_cache(maxsize=1)
def _advice() -> AdviceTable:
    table = AdviceTable()
    table.load_entry_points()
    return table
