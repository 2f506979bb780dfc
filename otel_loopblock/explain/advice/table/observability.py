"""Logging, tracing, metrics, reports of errors."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import NO_THREAD, PY, known_calls

_COOKBOOK = "https://docs.python.org/3/howto/logging-cookbook.html#dealing-with-handlers-that-block"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "logging.handlers.SocketHandler.* logging.handlers.SysLogHandler.* "
        "logging.handlers.SMTPHandler.* logging.handlers.HTTPHandler.* logging.handlers.DatagramHandler.*",
        "logging",
        "Log through logging.handlers.QueueHandler(queue), and send from a QueueListener's thread.",
        _COOKBOOK,
        "2026-11",
    ),
    *known_calls(
        "logging.*",
        "logging",
        "Log through logging.handlers.QueueHandler(queue), and write from a QueueListener's thread.",
        _COOKBOOK,
        "2026-11",
    ),
    *known_calls(
        "logging.config.*",
        "startup",
        "Configure logging at start-up: logging.config.dictConfig(config).",
        f"{PY}logging.config.html",
        "2026-11",
    ),
    *known_calls(
        "print",
        "logging",
        "Log through logging.handlers.QueueHandler(queue); a slow terminal or pipe blocks print.",
        _COOKBOOK,
        "2026-11",
    ),
    *known_calls(
        "loguru.*",
        "logging",
        "Add sinks by loguru.logger.add(sink, enqueue=True): a thread then writes.",
        "https://loguru.readthedocs.io/en/stable/api/logger.html",
        "2026-11",
    ),
    *known_calls(
        "structlog.*",
        "logging",
        "Use await logger.ainfo(event): structlog then processes and writes in a thread.",
        "https://www.structlog.org/en/stable/getting-started.html",
        "2026-11",
    ),
    *known_calls(
        "structlog.tracebacks.* structlog.dev.*Traceback* structlog.dev.rich_traceback",
        "compute",
        f"Use structlog.dev.plain_traceback, or tracebacks without locals (show_locals=False); {NO_THREAD}.",
        "https://www.structlog.org/en/stable/exceptions.html",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "rich.traceback.*",
        "compute",
        f"Print plain tracebacks, or bound them: rich.traceback.Traceback(max_frames=5); {NO_THREAD}.",
        "https://rich.readthedocs.io/en/stable/traceback.html",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "rich.*",
        "compute",
        f"Render less, or log plain text; {NO_THREAD}: it is Python code.",
        "https://rich.readthedocs.io/en/stable/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "sentry_sdk.flush sentry_sdk.api.flush sentry_sdk.Client.flush sentry_sdk.client._Client.* "
        "sentry_sdk.client.Client.flush sentry_sdk.worker.BackgroundWorker.*",
        "network",
        "Call sentry_sdk.flush(timeout=2) at shutdown only: its own thread sends.",
        "https://docs.sentry.io/platforms/python/configuration/draining/",
        "2026-11",
    ),
    *known_calls(
        "sentry_sdk.*",
        "compute",
        f"Record less for each event: sentry_sdk.init(include_local_variables=False); {NO_THREAD}.",
        "https://docs.sentry.io/platforms/python/configuration/options/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "opentelemetry.sdk.*.force_flush opentelemetry.sdk.*.shutdown",
        "network",
        "Flush at shutdown only, or in a thread: await asyncio.to_thread(provider.force_flush).",
        "https://opentelemetry-python.readthedocs.io/en/latest/sdk/trace.export.html",
        "2026-11",
    ),
    *known_calls(
        "opentelemetry.sdk.trace.export.SimpleSpanProcessor.* "
        "opentelemetry.sdk._logs.export.SimpleLogRecordProcessor.* opentelemetry.exporter.*",
        "network",
        "Use opentelemetry.sdk.trace.export.BatchSpanProcessor(exporter): it exports from a thread.",
        "https://opentelemetry-python.readthedocs.io/en/latest/sdk/trace.export.html",
        "2026-11",
    ),
    *known_calls(
        "prometheus_client.*",
        "serialisation",
        "Serve metrics on a port of their own, prometheus_client.start_http_server(port), or keep fewer "
        "series.",
        "https://prometheus.github.io/client_python/exporting/http/",
        "2026-11",
        releases_gil=False,
    ),
)
