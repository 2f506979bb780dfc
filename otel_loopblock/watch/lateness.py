"""What a late wake-up of the watchdog lacked: a CPU, or the GIL. Measured by the core's wait."""

from __future__ import annotations

import sys

from otel_loopblock.watch.evidence import Delay

LONG_INTERVALS = 1.2
"""Switch intervals: Python code gave up the GIL within 1.06 in 159 of 160 blocks; a longer wait is for C code
that kept it (DESIGN.md, section 6)."""

NOT_ASKED_SHARE = 0.5
"""Of a wait for the GIL: a machine that is busy wakes up who asks for it late, too."""


def explain(
    due: float,
    woke: float | None,
    at: float,
    *,
    cpu_s: float | None,
    loop_queued_s: float,
    own_queued_s: float | None,
    asked: int | None = None,
) -> Delay:
    """Split a late wake-up into what the watchdog waited for.

    Args:
        due: ``perf_counter`` when it was to wake up.
        woke: when it did; ``None`` where the core does not tell that from ``at``.
        at: when it had the GIL; now, if it still waits.
        cpu_s: CPU seconds of the loop's thread since ``woke``; ``None`` where there is no such clock.
        loop_queued_s: how long the loop's thread waited for a CPU meanwhile. While it has the GIL but no CPU,
            nobody is to blame for keeping the GIL.
        own_queued_s: how long the watchdog itself could have run before ``woke`` but had no CPU; ``None``
            where the kernel does not tell.
        asked: how often the watchdog got a CPU since ``woke``: once per switch interval while it waits for
            the GIL. While it does not ask, the process is stopped. ``None`` where the kernel does not tell.
    """
    longest_s = LONG_INTERVALS * sys.getswitchinterval()
    if woke is None:  # of a short one nothing follows, whatever it was
        return Delay(due, at, untold_s=at - due) if at - due >= longest_s else Delay(due, at, gil_s=at - due)
    gil_s = max(0.0, at - woke - loop_queued_s)
    stopped_s = 0.0
    if asked is not None and gil_s - (asked + 1) * longest_s >= NOT_ASKED_SHARE * gil_s:
        stopped_s = gil_s - (asked + 1) * longest_s
        gil_s -= stopped_s
    is_long = gil_s >= longest_s
    before = Delay(
        due,
        at,
        gil_s=gil_s,
        long_s=gil_s if is_long else 0.0,
        long_cpu_s=min(gil_s, cpu_s) if is_long and cpu_s is not None else 0.0,
        stopped_s=stopped_s,
    )
    late_s = max(0.0, woke - due)
    if own_queued_s is None:
        return before._replace(untold_s=late_s)
    return before._replace(stopped_s=stopped_s + max(0.0, late_s - own_queued_s))
