"""OpenTelemetry instrumentation that finds what blocks an asyncio or uvloop event loop."""

from otel_loopblock.version import __version__

__all__ = ["__version__"]
