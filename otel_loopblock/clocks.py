"""The clocks, as they are whatever the application's tests do to them.

A test puts a mock in the place of ``time.perf_counter``, which we must not call. freezegun replaces it in
every module that has it: a block from a real to a frozen moment would last for decades. So these are
functions of a module ``time`` of our own, which nobody else has.
"""

from __future__ import annotations

import time
from importlib.machinery import BuiltinImporter
from importlib.util import module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING

from otel_loopblock import guard

__all__ = [
    "clock_gettime",
    "is_plausible",
    "monotonic",
    "perf_counter",
    "process_time",
    "sleep",
    "thread_time",
    "time_ns",
]

LONGEST_S = 86_400.0
"""What lasts for longer than a day is a clock that has jumped."""


def _own_time() -> ModuleType:
    try:
        spec = BuiltinImporter.find_spec("time")
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    except ImportError:  # an interpreter that makes no second one
        pass
    return time


if TYPE_CHECKING:
    from time import clock_gettime, monotonic, perf_counter, process_time, sleep, thread_time, time_ns
else:
    _time = _own_time()
    clock_gettime = getattr(_time, "clock_gettime", None)  # not there on Windows
    monotonic, perf_counter, time_ns = _time.monotonic, _time.perf_counter, _time.time_ns
    process_time, thread_time, sleep = _time.process_time, _time.thread_time, _time.sleep


def is_plausible(duration_s: float) -> bool:
    """Whether something can have lasted that long; what cannot is counted."""
    if 0.0 <= duration_s <= LONGEST_S:
        return True
    guard.note("measure a time", f"a clock says {duration_s:.9g} s")
    return False
