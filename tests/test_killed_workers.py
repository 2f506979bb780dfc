"""Supervisors kill a worker that hangs: who made it hang is known by then, as span, log event and metric."""

from __future__ import annotations

import contextlib
import re
import threading
import time

import pytest

from otel_loopblock.local.receiver import ReceiverProcess
from tests.service.running import Service

NEVER_MS = "3600000"
ENVIRONMENT = {
    # What arrives was not exported because its time had come.
    "OTEL_BSP_SCHEDULE_DELAY": NEVER_MS,
    "OTEL_BLRP_SCHEDULE_DELAY": NEVER_MS,
    "OTEL_METRIC_EXPORT_INTERVAL": NEVER_MS,
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_PYTHON_LOOPBLOCK_REPORT": "all",
    "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "health",
}
KILLED_WITHIN_S = 60

SUPERVISED = {
    # Its workers answer from a thread: only one that keeps the GIL is killed. After five seconds by default,
    # which on a busy machine is less than their start takes.
    "uvicorn": (
        "uvicorn",
        ("--workers", "2", "--timeout-worker-healthcheck", "15"),
        "/pieces",
        "hanging.work_in_pieces",
    ),
    "gunicorn": ("gunicorn", ("--workers", "2", "--timeout", "5"), "/wait", "hanging.wait"),
    "gunicorn, GIL in pieces": (
        "gunicorn",
        ("--workers", "2", "--timeout", "5"),
        "/pieces",
        "hanging.work_in_pieces",
    ),
}


def is_killed(service, path):
    """Ask for what hangs; whether the connection breaks because the worker is killed."""
    began = time.monotonic()
    with contextlib.suppress(OSError):
        service.get(path, timeout=KILLED_WITHIN_S)
    return time.monotonic() - began < KILLED_WITHIN_S


@pytest.mark.parametrize("how", SUPERVISED)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_culprit_of_a_killed_worker_arrives_as_span_log_and_metric(loop, how):
    server, flags, path, culprit = SUPERVISED[how]
    function = f"tests.service.{culprit}"
    with (
        ReceiverProcess() as receiver,
        Service(
            "tests.service.hanging:app",
            loop=loop,
            endpoint=receiver.endpoint,
            environ=ENVIRONMENT,
            server=server,
            flags=flags,
        ) as service,
    ):
        killed = []
        asking = threading.Thread(target=lambda: killed.append(is_killed(service, path)))
        asking.start()
        asking.join()
        spans, logs, metrics = receiver.spans("event_loop.blocked"), receiver.logs(), receiver.metrics()
        output = service.output()

    assert killed == [True], output
    ours = [span for span in spans if span.attributes.get("code.function.name") == function]
    assert ours, output
    assert ours[0].attributes["event_loop.block.ongoing"] is True
    assert ours[0].attributes["event_loop.block.duration"] >= 2
    # A part of the request's trace, though its own span has never ended.
    assert ours[0].parent_span_id
    assert [
        record
        for record in logs
        if record.event_name == "event_loop.blocked"
        and record.attributes["code.function.name"] == function
        and record.trace_id == ours[0].trace_id
    ], output
    ongoing = [
        point
        for metric in metrics
        if metric.name == "event_loop.block.ongoing"
        for point in metric.points
        if point.attributes.get("code.function.name") == function
    ]
    assert max(point.value for point in ongoing) >= 2, output
    assert re.search(rf"still blocked after \d+ ms in GET {path}: hanging.py:\d+ ", output), output
