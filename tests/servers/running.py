"""Runs one of them under ``opentelemetry-instrument``; tells where the block of a handler was reported."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from otel_loopblock.local.receiver import ReceiverProcess
from tests.servers.commands import Served
from tests.service.running import ROOT, free_port

START_S = 90.0
REPORT_S = 30.0
CULPRIT = "tests.servers.apps.culprit.culprit"
ON_THE_REQUEST = "on the request's span"
ON_ITS_OWN = "on a span of its own"


def observe(python: str, served: Served, loop: str) -> tuple[str, str]:
    """Send a request that blocks.

    Args:
        python: the interpreter of an environment that has the server and the framework.
        served: which.
        loop: ``asyncio`` or ``uvloop``.

    Returns:
        Where the block was reported, and on which loop it says that it was; or what went wrong, and nothing.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    app = f"tests.servers.apps.with_{served.framework.lower()}:app"
    with ReceiverProcess() as receiver, tempfile.TemporaryFile("w+") as log:
        instrument = str(Path(python).with_name("opentelemetry-instrument"))
        process = subprocess.Popen(
            [instrument, python, "-m", *served.command(app, port, loop)],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it may have workers
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "DJANGO_SETTINGS_MODULE": "tests.servers.apps.django_settings",
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_METRICS_EXPORTER": "none",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_BSP_SCHEDULE_DELAY": "200",
                "OTEL_PYTHON_LOOPBLOCK_THRESHOLD_MS": "50",
                "OTEL_PYTHON_LOOPBLOCK_REPORT": "event",
            },
        )
        try:
            if not _answers(f"{url}/health", process):
                log.seek(0)
                return f"did not start: {log.read()[-300:]}", ""
            with urlopen(f"{url}/blocks", timeout=30) as response:
                response.read()
            return _reported(receiver)
        finally:
            _end(process)


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):
                return True
        except OSError:
            time.sleep(0.2)
    return False


def _reported(receiver: ReceiverProcess) -> tuple[str, str]:
    deadline = time.monotonic() + REPORT_S
    while time.monotonic() < deadline:
        spans = receiver.spans()
        places = [
            (ON_THE_REQUEST if span.kind == "SERVER" else f"on the span {span.name}", event.attributes)
            for span in spans
            for event in span.events
            if event.name == "event_loop.blocked"
        ]
        places += [(ON_ITS_OWN, span.attributes) for span in spans if span.name == "event_loop.blocked"]
        for place, attributes in places:
            if attributes.get("code.function.name") == CULPRIT:
                return place, str(attributes["event_loop.type"])
        time.sleep(0.2)
    return "not reported", ""


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
