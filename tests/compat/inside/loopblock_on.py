"""The ways in which other people's tests are run: without the package, and with it, reporting to nowhere.

What is in this folder runs in the process of the tests, and stands in its path. It must find nothing else of
this tree there: a suite has a package ``tests`` of its own.
"""

from __future__ import annotations

import logging
import traceback

WAYS = {
    "off": None,
    "1 ms": {"threshold_ms": 1.0, "heartbeat_interval_ms": 5.0, "log_interval_ms": 0},
    "defaults": {},
    "plugin": None,
}
"""By name: what is handed to ``instrument``; ``None`` where it is not called. The plugin is switched on by an
option."""


class Nowhere:
    """A span exporter that keeps nothing."""

    def export(self, spans):
        from opentelemetry.sdk.trace.export import SpanExportResult

        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30000):
        return True


class Package:
    """The package, switched on: everything measured, nothing kept."""

    def __init__(self, options):
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor

        from otel_loopblock import LoopBlockInstrumentor, core, guard

        # A line of ours in a test's output is no difference: tests listen to loggers. pytest listens to those
        # that do not propagate, too; a filter keeps them from all.
        self.tracebacks = []
        logger = logging.getLogger("otel_loopblock")
        logger.addFilter(self._keep)
        logger.setLevel(logging.DEBUG)  # at which tracebacks come
        self.core = core.NAME
        self.failures = guard.failures
        self.reader = InMemoryMetricReader()
        # Nothing at exit: a test may look at what is registered there.
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(Nowhere()))
        LoopBlockInstrumentor().instrument(
            tracer_provider=provider,
            meter_provider=MeterProvider([self.reader], shutdown_on_exit=False),
            **options,
        )

    def _keep(self, record):
        if record.exc_info:
            self.tracebacks.append("".join(traceback.format_exception(*record.exc_info)))
        return False

    def _count(self, name):
        data = self.reader.get_metrics_data()
        return sum(
            point.count
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        )

    def account(self):
        """How much it has done meanwhile, and what of it has failed."""
        return {
            "core": self.core,
            "blocks": self._count("event_loop.block.duration"),
            "beats": self._count("event_loop.lag"),
            "failures": dict(self.failures),
            "tracebacks": self.tracebacks,
        }


def switch_on(way):
    """The package, on in that way; ``None`` where it is off."""
    options = WAYS[way]
    return None if options is None else Package(options)
