"""Prometheus's own page in a real browser: what a person would see there."""

from __future__ import annotations

import shutil
import subprocess
import urllib.parse

import httpx
import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_prometheus_page_draws_blocks_by_function(stack, tmp_path, report):
    query = "sum by (code_function_name) (event_loop_block_duration_seconds_count)"
    parameters = urllib.parse.urlencode({"g0.expr": query, "g0.tab": "0", "g0.range_input": "5m"})
    # Where its page is depends on the version, and on who packaged it.
    page = httpx.get(stack.prometheus.url).headers["location"]
    done = subprocess.run(
        [
            str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path}", "--virtual-time-budget=10000", "--dump-dom",
            f"{httpx.URL(stack.prometheus.url).join(page)}?{parameters}",
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "tests.service.scenarios.block" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]
    version = subprocess.run([str(CHROMIUM), "--version"], capture_output=True, text=True).stdout.strip()
    report.append(f"Prometheus's page in {version}: shows the series of {query}")
