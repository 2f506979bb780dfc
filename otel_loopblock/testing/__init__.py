"""For tests: find what blocks an event loop before production does. Needs no OpenTelemetry SDK.

:class:`detect_blocking` is a context manager and decorator; the pytest plugin does the same for every test.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otel_loopblock.testing.detect import detect_blocking
    from otel_loopblock.testing.words import EventLoopBlocked

__all__ = ["EventLoopBlocked", "detect_blocking"]


def __getattr__(name: str) -> Any:
    # On demand: pytest imports this package for its plugin in every run, also where nobody asks for it.
    if name == "detect_blocking":
        from otel_loopblock.testing.detect import detect_blocking

        return detect_blocking
    if name == "EventLoopBlocked":
        from otel_loopblock.testing.words import EventLoopBlocked

        return EventLoopBlocked
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
