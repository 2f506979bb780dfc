"""Prometheus without a Collector: it scrapes the service's own exporter."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from tests.e2e.backends import Prometheus
from tests.e2e.deployment import DEPLOY, ROOT
from tests.e2e.process import Program, wait_for
from tests.service.running import free_port

CONFIG = DEPLOY / "prometheus/prometheus-direct.yml"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The address of the exporter, and that of the service."""
    home = tmp_path_factory.mktemp("direct")
    shutil.copy(Path(__file__).parent / "plain_app.py", home / "app.py")
    port, exporter = free_port(), free_port()
    program = Program(
        "direct",
        [
            str(Path(sys.executable).parent / "opentelemetry-instrument"),
            "uvicorn", "app:app", "--port", str(port), "--loop", "uvloop",
        ],
        health=f"http://127.0.0.1:{port}/health",
        environ={
            "PYTHONPATH": f"{home}:{ROOT}",
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "OTEL_SERVICE_NAME": "direct",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "prometheus",
            "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(exporter),
        },
        cwd=home,
    )  # fmt: skip
    program.start()
    for _ in range(3):
        httpx.get(f"http://127.0.0.1:{port}/checkout").raise_for_status()
    yield f"127.0.0.1:{exporter}"
    program.stop()


@pytest.fixture(scope="module", params=["system", "pinned"])
def prometheus(request, binaries, service, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load(CONFIG.read_text().replace("app:9464", service))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(CONFIG.parent / pattern) for pattern in config["rule_files"]]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    program = Program(
        "prometheus",
        [
            binaries.prometheus[request.param],
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={address}",
        ],
        health=f"http://{address}/-/ready",
    )
    program.start()
    yield Prometheus(f"http://{address}", request.param)
    program.stop()


@pytest.mark.parametrize(
    "expression",
    [
        "event_loop_lag_seconds_bucket",
        'sum by (job) (event_loop_block_duration_seconds_count{code_function_name="app.checkout"}) == 3',
        'event_loop_block_duration_seconds_bucket{event_loop_block_cause!="", le="0.1"}',
        "event_loop_utilization_ratio",
        "event_loop_block_ongoing_seconds",
        "job:event_loop_lag_seconds:p99_5m > 0",
        "job_route_function:event_loop_blocked:rate5m",
    ],
)
def test_prometheus_that_scrapes_the_service_itself_has(prometheus, report, expression):
    (*_, found) = wait_for(lambda: prometheus.query(expression), expression)
    assert found["metric"]["job"] == "shop"
    report.append(f"{prometheus.name}, direct, without Collector: {expression}")


def test_the_python_exporter_offers_no_exemplars(service):
    # Said in docs/deploying.md: if this fails, it can be said no longer.
    answer = httpx.get(
        f"http://{service}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert "event_loop_block_duration_seconds_bucket" in answer.text
    assert "trace_id" not in answer.text
