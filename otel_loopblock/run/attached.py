"""What the command puts into each Python process of the service: OpenTelemetry, and a second receiver for it.

The process is instrumented as by ``opentelemetry-instrument``, but what it has to say goes to the command as
well (:mod:`otel_loopblock.run.providers`).
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

SITE = str(Path(__file__).parent / "site")
"""The folder whose ``sitecustomize`` is ours."""

PORT = "OTEL_LOOPBLOCK_RUN_PORT"
"""Environment variable: where the command listens."""
ALONE = "OTEL_LOOPBLOCK_RUN_ALONE"
"""Environment variable: set where the environment names nobody else to export to."""


def attach() -> None:
    """Instrument this process and have its telemetry sent to the command; never raises."""
    port = os.environ.get(PORT, "")
    script = os.path.basename(sys.orig_argv[1]) if len(sys.orig_argv) > 1 else ""
    try:
        if script == "opentelemetry-instrument":
            _stay_first()
        elif port.isdecimal() and not _is_tracker():
            _instrument(int(port), alone=ALONE in os.environ)
    except Exception as error:  # the service must run all the same
        print(f"otel-loopblock run: this process is not watched: {error!r}", file=sys.stderr)
    _run_next()


def _is_tracker() -> bool:
    """Whether this is one of multiprocessing's own little processes, which run no code of the application."""
    return any("multiprocessing.resource_tracker" in argument for argument in sys.orig_argv)


def _stay_first() -> None:
    """``opentelemetry-instrument`` puts its own ``sitecustomize`` before ours when it starts the service."""
    execl = os.execl

    def execl_with_ours_first(file: str, *args: str) -> None:
        _put_first(SITE)
        execl(file, *args)

    os.execl = execl_with_ours_first  # type: ignore[assignment]


def _put_first(folder: str) -> None:
    _put_away(folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))


def _put_away(folder: str) -> None:
    kept = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != folder]
    os.environ["PYTHONPATH"] = os.pathsep.join(kept)


def _run_next() -> None:
    """Import the ``sitecustomize`` that ours stands before, as Python would have done."""
    others = [path for path in sys.path if path != SITE and not path.endswith("auto_instrumentation")]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def _instrument(port: int, *, alone: bool) -> None:
    _put_away(SITE)  # a process started meanwhile would do the same again
    try:
        from opentelemetry.instrumentation.auto_instrumentation import initialize

        from otel_loopblock.run import providers, sending

        line = sending.Line(port)
        line.send(sending.STARTED, b"")
        logging.getLogger("otel_loopblock").addFilter(_is_no_report)
        complete = providers.share(line, alone=alone)
        initialize()
        complete()
    finally:
        _put_first(SITE)


def _is_no_report(record: logging.LogRecord) -> bool:
    """Leaves out the lines on blocks: the command shows them, and the service's output stays its own."""
    return os.path.basename(os.path.dirname(record.pathname)) != "emit"
