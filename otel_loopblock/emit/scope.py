"""The instrumentation scope: under which name and version telemetry goes out, and which core made it."""

from __future__ import annotations

from typing import Final

from opentelemetry import _logs, metrics, trace

from otel_loopblock import core
from otel_loopblock.version import __version__

NAME: Final = "otel_loopblock"
ATTRIBUTES: Final = {"otel_loopblock.core": core.NAME}
"""Of the scope: ``native`` or ``pure``."""


def tracer(provider: trace.TracerProvider | None) -> trace.Tracer:
    """That of ``provider``; of the global one, also where it is set later, for ``None``."""
    return trace.get_tracer(NAME, __version__, provider, attributes=ATTRIBUTES)


def meter(provider: metrics.MeterProvider | None) -> metrics.Meter:
    """Likewise, but without the attributes: in Prometheus they would be labels of every series."""
    return metrics.get_meter(NAME, __version__, provider)


def logger(provider: _logs.LoggerProvider | None) -> _logs.Logger:
    """Likewise."""
    return _logs.get_logger(NAME, __version__, provider, attributes=ATTRIBUTES)
