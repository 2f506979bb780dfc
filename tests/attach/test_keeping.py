"""A process that exports OpenTelemetry: its requests have names, and ``--keep`` leaves it instrumented."""

from __future__ import annotations

import threading
import time

import pytest

from tests.attach.running import Service, Viewer, refused

APP = "tests.attach.traced:app"


@pytest.fixture
def service(loop_kind, tmp_path):
    with Service(tmp_path, loop_kind, app=APP) as service:
        yield service


def blocked(service, count):
    """The spans of so many blocks, which are exported a little later; all there are after a while."""
    deadline = time.monotonic() + 10
    while len(found := _blocked(service)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _blocked(service):
    spans = [span for span in service.get("/spans") if span["name"] == "event_loop.blocked"]
    return [
        span for span in spans if span["attributes"].get("code.function.name", "").endswith("charge_card")
    ]


def test_requests_that_waited_are_named(service, tmp_path):
    viewer = Viewer(service, tmp_path)
    viewer.until("watching process")
    done = threading.Event()

    def wait():
        while not done.is_set():
            service.get("/sleep")

    clients = [threading.Thread(target=wait) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        for _ in range(5):  # which of them sleeps just then, nobody can say
            service.get("/block/0.2")
    finally:
        done.set()
        for client in clients:
            client.join()
    viewer.until("× GET /sleep")
    assert viewer.end() == 0
    assert _blocked(service) == []  # it was looked at only


def test_keep_leaves_the_instrumentation_with_its_options(service, tmp_path):
    viewer = Viewer(service, tmp_path, "--keep", "--threshold-ms", "30", "--option", "stack=full")
    viewer.until("watching process")
    service.get("/block/0.1")
    viewer.until("charge_card")
    assert viewer.end() == 0
    assert f"process {service.pid} stays instrumented" in viewer.text()
    service.get("/block/0.12")
    spans = blocked(service, 2)
    assert len(spans) == 2
    assert {span["attributes"]["event_loop.block.threshold"] for span in spans} == {0.03}
    assert not any("event_loop.block.phase" in span["attributes"] for span in spans)  # it serves already
    stacks = [span["attributes"]["code.stacktrace"] for span in spans]
    assert not any("in <module>" in stack for stack in stacks)  # what runs the loop is no part of them
    state = service.state()
    assert "otel-loopblock-attach" not in state["threads"]
    code, text = refused(str(service.pid), service=service, folder=tmp_path)
    assert code == 1
    assert "it is instrumented with otel_loopblock already" in text


def test_keep_is_refused_where_nothing_is_exported(loop_kind, tmp_path):
    with Service(tmp_path, loop_kind) as service:
        before = service.state()
        code, text = refused(str(service.pid), "--keep", service=service, folder=tmp_path)
        assert code == 1
        assert "--keep: it exports no traces with OpenTelemetry" in text
        assert service.settled(before)["changed"] == []


def test_keep_says_what_the_process_lacks(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.instrumentation.instrumentor'] = None\n"
    )
    with Service(tmp_path, "asyncio", {"PYTHONPATH": str(tmp_path)}, APP) as service:
        code, text = refused(str(service.pid), "--keep", service=service, folder=tmp_path)
    assert code == 1
    assert "--keep: it lacks what the instrumentation needs: " in text
    assert "opentelemetry.instrumentation" in text


def test_instrumented_process_is_refused(loop_kind, tmp_path):
    with Service(tmp_path, loop_kind, {"ALREADY": "1"}, APP) as service:
        code, text = refused(str(service.pid), service=service, folder=tmp_path)
        assert code == 1
        assert "it is instrumented with otel_loopblock already: its blocks are in its traces" in text
        service.get("/block/0.1")
        assert len(blocked(service, 1)) == 1
