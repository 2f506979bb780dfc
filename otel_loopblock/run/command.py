"""The service's command as the user types it, and the environment that attaches it."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from otel_loopblock.run.attached import ALONE, PORT, SITE

EXPORTS = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
)
"""Variables that say where telemetry goes; where one is set, the environment's settings are left alone."""

HEARTBEAT_INTERVAL_MS = 50
"""More often than the default: the lag *now* is told from a few seconds."""

_OURS = (PORT, ALONE)


class CannotStart(Exception):
    """The command cannot be started; the message is one line."""


def resolve(words: Sequence[str]) -> list[str]:
    """The command to execute: ``-m module`` and ``file.py`` are Python's, other names are looked for.

    This environment's own scripts come first: the service must run where this package is installed.

    Args:
        words: the command as it was typed; not empty.

    Raises:
        CannotStart: there is no such program.
    """
    first = words[0]
    is_program = os.sep in first and os.access(first, os.X_OK)
    if first == "-m" or (first.endswith(".py") and not is_program):
        return [sys.executable, *words]
    scripts = (sysconfig.get_path("scripts"), str(Path(sys.executable).parent))
    found = shutil.which(first, path=os.pathsep.join((*scripts, os.environ.get("PATH", os.defpath))))
    if found is None:
        what = "no such file" if os.sep in first else "not found"
        raise CannotStart(f"{first}: {what}, or not executable")
    return [found, *words[1:]]


def environment(port: int, *, threshold_ms: float | None) -> Mapping[str, str]:
    """The environment of the service: the user's own, and what attaches each of its Python processes.

    Args:
        port: where the command listens.
        threshold_ms: from which a callback is a block; ``None``: as the environment says, or the default.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _OURS}
    kept = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != SITE]
    environ["PYTHONPATH"] = os.pathsep.join((SITE, *kept))
    environ[PORT] = str(port)
    disabled = environ.pop("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or not any(environ.get(name) for name in EXPORTS):
        environ |= {
            ALONE: "1",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        }
    environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")  # today's names: http.request.method
    environ.setdefault("OTEL_PYTHON_LOOPBLOCK_HEARTBEAT_INTERVAL_MS", str(HEARTBEAT_INTERVAL_MS))
    if threshold_ms is not None:
        environ["OTEL_PYTHON_LOOPBLOCK_THRESHOLD_MS"] = f"{threshold_ms:g}"
    return environ
