"""The core in Python: the twin of the compiled one, with its names and its behaviour.

It serves where there is no compiled core. It costs more per callback, and asks for the GIL at each tick. When
a look comes late it cannot tell whether a CPU or the GIL was missing. All else is the same, and simple.

A signal handler that raises may do so in here. On uvloop a callback in C may then not be called, and what is
raised in a callback of the garbage collector is lost: Python says so ("Exception ignored in").
"""

from otel_loopblock.core.pure.callbacks import (
    CALLERS,
    Call,
    Method,
    Monitor,
    Run,
    Scheduler,
    postponing,
    unwrap,
)
from otel_loopblock.core.pure.clocks import scheduling, thread_clock
from otel_loopblock.core.pure.stacks import stack, thread_context, threads, variable
from otel_loopblock.core.pure.wait import LATE, LOADED, LONG_CALLBACK, WOKEN, Waiter

INTERFACE = 3
"""Which interface this is; that of the compiled core must be the same."""

ContextWatch = None
"""Only the compiled core can be told of the switches of contexts."""

TELLS_LATENESS = False
"""Whether a wait tells when it woke up from when it had the GIL."""

__all__ = [
    "CALLERS",
    "INTERFACE",
    "LATE",
    "LOADED",
    "LONG_CALLBACK",
    "TELLS_LATENESS",
    "WOKEN",
    "Call",
    "ContextWatch",
    "Method",
    "Monitor",
    "Run",
    "Scheduler",
    "Waiter",
    "postponing",
    "scheduling",
    "stack",
    "thread_clock",
    "thread_context",
    "threads",
    "unwrap",
    "variable",
]
