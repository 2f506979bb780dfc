"""A real service in the situations that a deployment brings: several workers, no backend, no SDK set up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_loopblock.local.receiver import ReceiverProcess
from tests.service.running import Service

APP = "tests.service.scenarios:app"


def _blocked(spans):
    return [
        (span.resource["process.pid"], event.attributes["code.function.name"])
        for span in spans
        for event in span.events
        if event.name == "event_loop.blocked"
    ]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_of_two_workers_reports_its_own_blocks(loop):
    with (
        ReceiverProcess() as receiver,
        Service(
            APP,
            loop=loop,
            endpoint=receiver.endpoint,
            environ={"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"},
            flags=("--workers", "2"),
        ) as service,
    ):

        def from_both(spans):
            pids = {pid for pid, function in _blocked(spans) if function == "tests.service.scenarios.block"}
            if len(pids) < 2:
                with ThreadPoolExecutor(8) as pool:  # a worker that is blocked leaves the rest to the other
                    list(pool.map(lambda _: service.get("/block_then_return"), range(8)))
            return len(pids) >= 2

        receiver.wait_for_spans(from_both, timeout_s=60)
        receiver.wait_for_metrics(
            lambda metrics: (
                len({m.resource["process.pid"] for m in metrics if m.name == "event_loop.block.duration"})
                == 2
            )
        )


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_service_answers_although_nobody_takes_its_telemetry(loop):
    with Service(APP, loop=loop, endpoint="http://127.0.0.1:9") as service:
        for _ in range(3):
            assert service.get("/block_then_return") == b"{}"
            assert service.get("/innocent") == b"{}"
        output = service.output()

    assert "event loop blocked" in output
    assert "otel_loopblock failed" not in output
