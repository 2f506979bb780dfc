"""A process that was stopped while a loop was busy, though no callback ran: the watchdog's tick came late.

Of an idle loop the heartbeat tells, and of a thread that waited for a CPU the kernel (:mod:`.waits`).
"""

from __future__ import annotations

from otel_loopblock.clocks import process_time
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.waits import Rest, stood_still


def tell(due: float, woke: float, *, own_queued_s: float | None) -> None:
    """Tell the listeners of a late tick, if the process stood still; once, whatever the number of loops.

    Args:
        due: ``perf_counter`` when the tick was due.
        woke: when it came.
        own_queued_s: how long the watchdog could have run but had no CPU; ``None`` where that is not known.
    """
    monitors = loops.monitors()
    if own_queued_s is None or not monitors:
        return
    process_cpu_s = process_time() - min(each.before_process_cpu for each in monitors)
    busy_s = max(each.busy - each.before_busy for each in monitors)
    wait = stood_still(Rest(due, woke, own_queued_s, 0, 0.0, process_cpu_s, due), demand.threshold_s, busy_s)
    if wait is not None:
        monitors[0].tell_wait(wait)
