"""A real service in the situations that a deployment brings: several workers, killed ones, no backend."""

from __future__ import annotations

import contextlib
import os
import signal
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


class Reported:
    """The processes of a service of which a block has come in.

    Args:
        service: the service.
        receiver: what it exports to.
    """

    def __init__(self, service, receiver):
        self._service = service
        self._receiver = receiver

    def by(self, count, beside=()):
        """Block the service until so many processes, beside those given, have reported a block; their ids."""
        found = set()

        def enough(spans):
            blocked = _blocked(spans)
            found.update(pid for pid, function in blocked if function == "tests.service.scenarios.block")
            found.difference_update(beside)
            if len(found) < count:
                with ThreadPoolExecutor(8) as pool:  # a worker that is blocked leaves the rest to the other
                    list(pool.map(self._block, range(8)))
            return len(found) >= count

        self._receiver.wait_for_spans(enough, timeout_s=60)
        return found

    def _block(self, _):
        with contextlib.suppress(OSError):  # its worker was killed
            self._service.get("/block_then_return", timeout=5)


SERVERS = {
    "uvicorn": ("uvicorn", ("--workers", "2")),
    "gunicorn": ("gunicorn", ("--workers", "2")),
    "gunicorn, application loaded before the fork": ("gunicorn", ("--workers", "2", "--preload")),
}


@pytest.mark.parametrize("how", SERVERS)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_of_two_workers_reports_its_own_blocks_and_so_does_who_replaces_one(loop, how):
    server, flags = SERVERS[how]
    environ = {"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"}
    with (
        ReceiverProcess() as receiver,
        Service(
            APP, loop=loop, endpoint=receiver.endpoint, environ=environ, server=server, flags=flags
        ) as service,
    ):
        reported = Reported(service, receiver)
        workers = reported.by(2)

        receiver.wait_for_metrics(
            lambda metrics: (
                len({m.resource["process.pid"] for m in metrics if m.name == "event_loop.block.duration"})
                >= 2
            )
        )
        os.kill(min(workers), signal.SIGKILL)
        reported.by(1, beside=workers)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_service_that_is_loaded_again_reports_its_blocks(loop, tmp_path):
    code = "from tests.service.scenarios import app\n"
    (tmp_path / "reloaded.py").write_text(code)
    with (
        ReceiverProcess() as receiver,
        Service(
            "reloaded:app",
            loop=loop,
            endpoint=receiver.endpoint,
            environ={"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process"},
            flags=("--reload", "--reload-dir", str(tmp_path), "--app-dir", str(tmp_path)),
            folder=tmp_path,
        ) as service,
    ):
        reported = Reported(service, receiver)
        before = reported.by(1)

        (tmp_path / "reloaded.py").write_text(code + "# changed\n")
        reported.by(1, beside=before)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_service_answers_although_nobody_takes_its_telemetry(loop):
    with Service(APP, loop=loop, endpoint="http://127.0.0.1:9") as service:
        for _ in range(3):
            assert service.get("/block_then_return") == b"{}"
            assert service.get("/innocent") == b"{}"
        output = service.output()

    assert "event loop blocked" in output
    assert "otel_loopblock failed" not in output
