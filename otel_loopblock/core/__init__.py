"""What runs around every callback, waits for long ones, walks stacks and reads clocks.

There are two cores with one interface: ``native/`` in C, which is :mod:`otel_loopblock.core._native` where it
was built, and its twin in Python, ``pure/``. Which one serves is decided here, once per process: the compiled
one where it can be used, unless ``OTEL_PYTHON_LOOPBLOCK_CORE=pure`` asks for the twin.

A compiled core that cannot be used must not take a service down: one line in the log, and the twin.
"""

from __future__ import annotations

import logging
import os
from types import ModuleType
from typing import TYPE_CHECKING

from otel_loopblock.core.loading import Absent, Unusable, load

_VARIABLE = "OTEL_PYTHON_LOOPBLOCK_CORE"

_INTERFACE = 3
"""Of both cores. A compiled core that says another number is of another release."""

_SHARED = (
    "CALLERS",
    "LATE",
    "LOADED",
    "LONG_CALLBACK",
    "TELLS_LATENESS",
    "WOKEN",
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
)
"""What both cores have."""

_logger = logging.getLogger("otel_loopblock")


def _choose() -> tuple[ModuleType, str, str]:
    """The core, its name, and why it is not the compiled one."""
    value = os.environ.get(_VARIABLE, "")
    wanted = value.strip().lower()
    if wanted not in ("", "native", "pure"):
        _logger.warning(
            "%s=%r cannot be used; it must be native or pure. The default, native where there is, is used.",
            _VARIABLE,
            value,
        )
    if wanted == "pure":
        return _load_pure(), "pure", f"{_VARIABLE}={value} asks for the twin"
    try:
        return load(_INTERFACE, _SHARED), "native", ""
    except Absent as error:
        if wanted == "native":
            _logger.warning("%s=%s cannot be used: %s. The twin in Python is used.", _VARIABLE, value, error)
        elif isinstance(error, Unusable):
            _logger.warning("The compiled core cannot be used: %s. The twin in Python is used.", error)
        return _load_pure(), "pure", str(error)


def _load_pure() -> ModuleType:
    import otel_loopblock.core.pure as pure  # here: where the compiled core serves nobody needs it

    return pure


def require(name: str) -> None:
    """Check that a core is the one in use: it was chosen when this package was imported.

    Args:
        name: ``native`` or ``pure``.

    Raises:
        ValueError: another name, or ``pure`` while the compiled core is in use.
        ImportError: ``native``, and there is no compiled core that can be used.
    """
    if name not in ("native", "pure"):
        raise ValueError(f"loopblock: core={name!r} cannot be used; it must be native or pure")
    if name == "native" != NAME:
        raise ImportError(f"loopblock: core='native' cannot be used: {WHY}")
    if name == "pure" != NAME:
        raise ValueError(
            f"loopblock: core='pure' cannot be used: the compiled core is in use already. "
            f"Set {_VARIABLE}=pure before otel_loopblock is imported"
        )


NAME: str
"""The core in use: ``native`` or ``pure``."""

WHY: str
"""Why that is not the compiled one; empty where it is."""

if TYPE_CHECKING:
    import otel_loopblock.core._native as _core
else:
    _core, NAME, WHY = _choose()

CALLERS = _core.CALLERS
INTERFACE = _core.INTERFACE
LATE = _core.LATE
LOADED = _core.LOADED
LONG_CALLBACK = _core.LONG_CALLBACK
TELLS_LATENESS = _core.TELLS_LATENESS
WOKEN = _core.WOKEN
ContextWatch = _core.ContextWatch
Method = _core.Method
Monitor = _core.Monitor
Run = _core.Run
Scheduler = _core.Scheduler
Waiter = _core.Waiter
postponing = _core.postponing
scheduling = _core.scheduling
stack = _core.stack
thread_clock = _core.thread_clock
thread_context = _core.thread_context
threads = _core.threads
unwrap = _core.unwrap
variable = _core.variable
