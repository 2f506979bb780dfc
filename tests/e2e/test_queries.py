"""Every query of the dashboard and every rule, asked of the Prometheus that scraped a real service."""

from __future__ import annotations

import math
import subprocess

import pytest
import yaml

from tests.e2e import queries
from tests.e2e.deployment import DEPLOY
from tests.e2e.stack import wait_for

RARE = {"job_instance:event_loop_starved:rate5m"}
"""Recorded only where a loop lacked a CPU: here that may not be. The rules' unit tests have it."""


def ids(found):
    return [query.where for query in found]


def numbers(series):
    """The series that have a value; a quantile of nothing is not a number."""
    return [found for found in series if not math.isnan(float(found["value"][1]))]


@pytest.mark.parametrize("query", queries.of_dashboards(), ids=ids(queries.of_dashboards()))
def test_dashboard_query_returns_data(prometheus, report, query):
    expression = query.expression.removesuffix(" or vector(0)")  # a stand-in for data is none
    series = wait_for(lambda: numbers(prometheus.query(expression)), expression)
    report.append(f"{prometheus.name}: dashboard: {query.where.split(': ', 1)[1]}: {len(series)} series")


@pytest.mark.parametrize("query", queries.of_recordings(), ids=ids(queries.of_recordings()))
def test_recording_rule_records(prometheus, report, query):
    if query.where in RARE:
        series = prometheus.query(query.expression)  # understood, at least
        report.append(f"{prometheus.name}: recorded: {query.where}: {len(series)} series, as it may be")
        return
    series = wait_for(lambda: numbers(prometheus.query(query.where)), query.where)
    report.append(f"{prometheus.name}: recorded: {query.where}: {len(series)} series")


@pytest.mark.parametrize("query", queries.of_alerts(), ids=ids(queries.of_alerts()))
def test_alert_expression_is_understood_by_prometheus_and_seen_to_fire_in_a_unit_test(
    prometheus, report, query
):
    series = prometheus.query(query.expression)
    fires_in_test = any(
        alert["exp_alerts"]
        for path in queries.RULE_TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for alert in test.get("alert_rule_test", [])
        if alert["alertname"] == query.where
    )
    assert fires_in_test, f"no test in {queries.RULE_TESTS} makes {query.where} fire"
    report.append(
        f"{prometheus.name}: alert: {query.where}: {len(series)} series here; seen to fire in its unit test"
    )


def test_alert_for_a_hanging_loop_was_raised_by_prometheus_itself(prometheus):
    alert = 'ALERTS{alertname="EventLoopHanging", alertstate="firing", job="limited"}'
    # A hang is one once the loop has turned for two minutes: before, it may be the start.
    assert wait_for(lambda: prometheus.query(f"max_over_time({alert}[15m])"), alert, timeout_s=180, every_s=2)


@pytest.mark.parametrize("version", ["system", "pinned"])
def test_rules_pass_their_unit_tests(binaries, version):
    done = subprocess.run(
        [binaries.promtool[version], "test", "rules", *queries.RULE_TESTS], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.parametrize("version", ["system", "pinned"])
def test_configuration_and_rules_are_valid(binaries, version):
    for command in (
        ["check", "config", *(DEPLOY / "prometheus").glob("*.yml")],
        ["check", "rules", *queries.RULES],
    ):
        done = subprocess.run([binaries.promtool[version], *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_named_in_deploy_was_scraped(prometheus):
    named = set()
    for query in queries.of_dashboards() + queries.of_recordings() + queries.of_alerts():
        named |= query.metrics()
    assert {"event_loop_lag_seconds_bucket", "event_loop_block_duration_seconds_bucket"} <= named
    missing = named - prometheus.metric_names() - RARE
    assert not missing
