"""Starts ``otel-loopblock run`` with a real service, loads it, and stops it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

COMMAND = [sys.executable, "-m", "otel_loopblock.cli", "run"]
APP = "tests.run.service:app"
ROOT = Path(__file__).parents[2]
START_S = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return str(answer.read().decode())


def wait_until_ready(port: int, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            get(port, "/stock")
            return
        except OSError:
            assert time.monotonic() < deadline, "the service did not answer"
            assert process is None or process.poll() is None, "the service has ended"
            time.sleep(0.1)


def load(port: int, payments: int = 3) -> set[str]:
    """Payments one after another, and others meanwhile; the answers."""
    answers: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            answers.add(get(port, "/stock"))
            time.sleep(0.02)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for thread in lookers:
        thread.start()
    try:
        for _ in range(payments):
            answers.add(get(port, "/pay"))
            time.sleep(0.1)
    finally:
        done.set()
        for thread in lookers:
            thread.join()
    return answers


class Run:
    """A run whose output goes to files.

    Args:
        folder: for the files.
        words: the service's command; ``PORT`` stands for a free port.
        options: of ours.
        environ: what is added to the environment.
        wrapped: whether it runs under our command, or alone for comparison.
    """

    def __init__(
        self,
        folder: Path,
        words: Sequence[str],
        options: Sequence[str] = (),
        environ: dict[str, str] | None = None,
        *,
        wrapped: bool = True,
        port: int = 0,
    ) -> None:
        self.port = port or free_port()
        self.json = folder / "run.json"
        self.out, self.err = folder / "out", folder / "err"
        words = [word.replace("PORT", str(self.port)) for word in words]
        if wrapped:
            words = [*COMMAND, "--json", str(self.json), *options, "--", *words]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env={**clean_environment(), **(environ or {})},
            )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def ready(self) -> None:
        wait_until_ready(self.port, self.process)

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def report(self) -> dict:
        return json.loads(self.json.read_text())

    def output(self) -> tuple[str, str]:
        return self.out.read_text(), self.err.read_text()


def clean_environment() -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "PYTHONUNBUFFERED": "1",
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    }


def culprit(report: dict, function: str) -> dict:
    found = [culprit for culprit in report["culprits"] if (culprit["function"] or "").endswith(function)]
    assert found, report["culprits"]
    return found[0]
