"""Starts a service under ``opentelemetry-instrument``, as a user does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


GUNICORN_WORKERS = {"asyncio": "uvicorn_worker.UvicornH11Worker", "uvloop": "uvicorn_worker.UvicornWorker"}


class Service:
    """``opentelemetry-instrument uvicorn APP``, or gunicorn, in a process of its own."""

    def __init__(
        self,
        app: str,
        *,
        loop: str,
        endpoint: str,
        environ: dict[str, str] | None = None,
        instrument: bool = True,
        flags: tuple[str, ...] = (),
        server: str = "uvicorn",
        folder: Path = ROOT,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", server, app, "--log-level", "warning", *flags]
        if server == "uvicorn":
            command += ["--port", str(self.port), "--loop", loop, "--no-access-log"]
        else:
            command += ["--bind", f"127.0.0.1:{self.port}", "--worker-class", GUNICORN_WORKERS[loop]]
        if instrument:
            scripts = Path(sys.executable).parent
            command = [
                str(scripts / "opentelemetry-instrument"),
                "--traces_exporter", "otlp", "--metrics_exporter", "otlp",
                *command,
            ]  # fmt: skip
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "OTEL_SERVICE_NAME": "scenarios",
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_LOGS_EXPORTER": "none",
                "OTEL_BSP_SCHEDULE_DELAY": "200",
                "OTEL_METRIC_EXPORT_INTERVAL": "500",
                "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS": "health,truth",
                "OTEL_PYTHON_LOOPBLOCK_LOG_INTERVAL_MS": "0",
                **(environ or {}),
            },
        )

    def __enter__(self) -> Service:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.get("/health", timeout=2)
                return self
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"the service did not start:\n{self.output()}") from None
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def get(self, path: str, timeout: float = 30) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=timeout) as response:
            return bytes(response.read())

    def output(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
