"""For tests: find what blocks an event loop before production does. Needs no OpenTelemetry SDK.

:class:`detect_blocking` is a context manager and decorator; the pytest plugin does the same for every test.
:func:`measure_parallelism` and :func:`assert_releases_gil` tell whether a thread is a cure;
:func:`measure_offload` and :func:`assert_offloaded`, whether the work has left the loop's thread.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_loopblock.testing.detect import detect_blocking
    from otel_loopblock.testing.saturation import EventLoopSaturated
    from otel_loopblock.testing.threads.offload import OffloadReport, assert_offloaded, measure_offload
    from otel_loopblock.testing.threads.parallelism import (
        ParallelismReport,
        assert_releases_gil,
        measure_parallelism,
    )
    from otel_loopblock.testing.words import EventLoopBlocked, OwnLineBlocked

__all__ = [
    "EventLoopBlocked",
    "EventLoopSaturated",
    "OffloadReport",
    "OwnLineBlocked",
    "ParallelismReport",
    "assert_offloaded",
    "assert_releases_gil",
    "detect_blocking",
    "measure_offload",
    "measure_parallelism",
]

_MODULES = {
    "EventLoopBlocked": "words",
    "EventLoopSaturated": "saturation",
    "OffloadReport": "threads.offload",
    "OwnLineBlocked": "words",
    "ParallelismReport": "threads.parallelism",
    "assert_offloaded": "threads.offload",
    "assert_releases_gil": "threads.parallelism",
    "detect_blocking": "detect",
    "measure_offload": "threads.offload",
    "measure_parallelism": "threads.parallelism",
}


def __getattr__(name: str) -> Any:
    # On demand: pytest imports this package for its plugin in every run, also where nobody asks for it.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
