"""The demo service and its load, as deploy/docker-compose.yaml starts them; it exports over gRPC."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.deployment import DEPLOY, ROOT
from tests.e2e.process import Program, wait_for
from tests.service.running import free_port

SCRIPTS = Path(sys.executable).parent
LOAD_S = 12
PACKAGE_IN_IMAGE = "/usr/local/lib/python3.13/site-packages/otel_loopblock"


@pytest.fixture(scope="module")
def load(stack):
    """What the load generator printed: path, outcome, count."""
    port = str(free_port())
    program, *arguments = stack.deployment.arguments("app")
    arguments = [part.replace("8000", port).replace("0.0.0.0", "127.0.0.1") for part in arguments]
    environ = {
        **stack.deployment.environment("app", {PACKAGE_IN_IMAGE: ROOT / "otel_loopblock"}),
        "OTEL_METRIC_EXPORT_INTERVAL": "2000",
        "PATH": f"{SCRIPTS}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
    }
    app = Program(
        "app", [str(SCRIPTS / program), *arguments], health=f"http://127.0.0.1:{port}/health", environ=environ
    )
    python, script, url = stack.deployment.arguments("load")
    assert (python, url) == ("python", "http://app:8000")
    app.start()
    try:
        script = script.replace("/app/", f"{DEPLOY}/app/")
        done = subprocess.run(
            [sys.executable, script, f"http://127.0.0.1:{port}", "--seconds", str(LOAD_S)],
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
        yield [line.split() for line in done.stdout.splitlines()]
    finally:
        app.stop()


def test_the_demo_answers_all_of_its_load(load):
    assert {outcome for _, outcome, _ in load} == {"200"}
    assert {path for path, _, _ in load} >= {"/stock", "/blocking/payment", "/blocking/catalogue"}


@pytest.mark.parametrize("path", ["/blocking/payment", "/blocking/bundle", "/blocking/customers"])
def test_jaeger_names_what_blocked_in_the_demo(stack, load, report, path):
    def blocked():
        events = (span.event("event_loop.blocked") for span in stack.jaeger.find("shop", f"GET {path}"))
        return [e for e in events if e and e["code.function.name"].startswith("otel_loopblock.demo.shop.")]

    event = wait_for(blocked, f"event_loop.blocked by the shop under {path}")[0]
    report.append(
        f"demo over OTLP/gRPC: {path}: {event['code.function.name']} -> {event.get('event_loop.block.call')} "
        f"({event['event_loop.block.cause']}, {event['event_loop.block.duration'] * 1e3:.0f} ms)"
    )


def test_prometheus_knows_the_demo_by_its_name(prometheus, load):
    assert wait_for(
        lambda: prometheus.query(
            'event_loop_block_duration_seconds_count{job="shop", http_route=~"/blocking/.+"}'
        ),
        "blocks of the demo in Prometheus",
    )


def test_the_load_of_the_image_is_the_script_that_ran():
    dockerfile = (DEPLOY / "app/Dockerfile").read_text()
    assert "\nFROM python:3.13-slim\n" in dockerfile, f"where {PACKAGE_IN_IMAGE} is"
    assert re.search(r"^COPY deploy/app/load.py /app/load.py$", dockerfile, re.M)
