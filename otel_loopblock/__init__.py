"""OpenTelemetry instrumentation that finds what blocks an asyncio or uvloop event loop.

See :class:`LoopBlockInstrumentor`; for tests, :mod:`otel_loopblock.testing`.
"""

from typing import TYPE_CHECKING, Any

from otel_loopblock.version import __version__

if TYPE_CHECKING:
    from otel_loopblock.instrumentor import LoopBlockInstrumentor

__all__ = ["LoopBlockInstrumentor", "__version__"]


def __getattr__(name: str) -> Any:
    # On demand: pytest imports this package for its plugin in every run, also where nobody asks for it.
    if name == "LoopBlockInstrumentor":
        from otel_loopblock.instrumentor import LoopBlockInstrumentor

        return LoopBlockInstrumentor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
