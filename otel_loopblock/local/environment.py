"""The environments of the services that are started here, and of what puts load on them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

KEPT_FOR_A_COLLECTOR = ("OTEL_EXPORTER_OTLP_", "OTEL_RESOURCE_ATTRIBUTES")
"""What of the user's own settings counts when the telemetry goes to the user's own collector."""

EXPORT_INTERVAL_MS = 500
HEARTBEAT_INTERVAL_MS = 20
"""More often than the default: a run of some seconds must fill a histogram."""


def uninstrumented_environment() -> dict[str, str]:
    """The environment without what would instrument a process that is started, if its starter is."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    kept = [path for path in paths if path and not path.endswith("auto_instrumentation")]
    if kept:
        environment["PYTHONPATH"] = os.pathsep.join(kept)
    else:
        environment.pop("PYTHONPATH", None)
    return environment


def service_environment(
    endpoint: str, *, threshold_ms: float, service_name: str, app_paths: Sequence[Path] = ()
) -> Mapping[str, str]:
    """The environment of an instrumented service.

    Args:
        endpoint: base URL of the OTLP receiver.
        threshold_ms: from which a callback is a block.
        service_name: the resource attribute ``service.name``.
        app_paths: folders of its own code, where they cannot be told from the path alone.
    """
    environment = {
        **uninstrumented_environment(),
        "OTEL_SERVICE_NAME": service_name,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": str(EXPORT_INTERVAL_MS),
        "OTEL_METRIC_EXPORT_INTERVAL": str(EXPORT_INTERVAL_MS),
        "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "health",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http",  # today's names: http.request.method, not http.method
        "OTEL_PYTHON_LOOPBLOCK_THRESHOLD_MS": f"{threshold_ms:g}",
        "OTEL_PYTHON_LOOPBLOCK_HEARTBEAT_INTERVAL_MS": str(HEARTBEAT_INTERVAL_MS),
    }
    if app_paths:
        environment["OTEL_PYTHON_LOOPBLOCK_APP_PATHS"] = ",".join(map(str, app_paths))
    return environment


def collector_settings() -> Mapping[str, str]:
    """The user's own settings for a collector: protocol, headers, certificates, resource attributes."""
    return {
        key: value
        for key, value in os.environ.items()
        if key.startswith(KEPT_FOR_A_COLLECTOR) and not key.endswith("_ENDPOINT")
    }
