"""OpenTelemetry instrumentation that finds what blocks an asyncio or uvloop event loop.

See :class:`LoopBlockInstrumentor`; for tests, :mod:`otel_loopblock.testing`.
"""

from otel_loopblock.instrumentor import LoopBlockInstrumentor
from otel_loopblock.version import __version__

__all__ = ["LoopBlockInstrumentor", "__version__"]
