"""Starts a service to attach to, and the command. Below Python 3.14 a signal has the script executed."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.run.running import ROOT, clean_environment, free_port, get

ASKS = hasattr(sys, "remote_exec")
START_S = 60.0

_STAND_IN = """
import os, signal, sys
from otel_loopblock.attach import process, viewer
from otel_loopblock import cli
def remote_exec(pid, script):
    with open({wanted!r}, "w") as file:
        file.write(script)
    os.kill(pid, signal.SIGUSR1)
if {stands_in}:
    process.FIRST = (3, 10)
    sys.remote_exec = remote_exec
sys.exit(cli.main(["attach", *sys.argv[1:]]))
"""


class Service:
    """A uvicorn to attach to.

    Args:
        folder: for its output.
        loop: ``asyncio`` or ``uvloop``.
        environ: what is added to the environment.
        app: the application.
    """

    def __init__(
        self,
        folder: Path,
        loop: str,
        environ: dict[str, str] | None = None,
        app: str = "tests.attach.service:app",
    ) -> None:
        self.port = free_port()
        self.wanted = folder / "wanted"
        self.log = folder / "service.log"
        server = ["-m", "uvicorn", app, "--port", str(self.port), "--loop", loop, "--no-access-log"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *server, "--log-level", "warning"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**clean_environment(), "WANTED": str(self.wanted), **(environ or {})},
            )
        self.pid = self.process.pid

    def __enter__(self) -> Service:
        deadline = time.monotonic() + START_S
        while True:
            try:
                get(self.port, "/")
                return self
            except OSError:
                assert time.monotonic() < deadline, self.log.read_text()
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)

    def __exit__(self, *error: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def get(self, path: str) -> dict:
        return json.loads(get(self.port, path))

    def state(self) -> dict:
        return self.get("/state")

    def settled(self, wanted: dict, timeout_s: float = 15.0) -> dict:
        """Its state, once all but what it imported is as in ``wanted``, or the time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            state = self.state()
            if same(state, wanted) or time.monotonic() > deadline:
                return state
            time.sleep(0.05)


def same(state: dict, other: dict) -> bool:
    return all(state[name] == other[name] for name in ("changed", "threads", "tasks", "fds"))


def command(service: Service | None, *arguments: str) -> list[str]:
    """The command line of the viewer."""
    wanted = str(service.wanted) if service is not None else ""
    return [sys.executable, "-c", _STAND_IN.format(wanted=wanted, stands_in=not ASKS), *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Of the viewer: what it leaves behind is left in ``folder``."""
    return {**clean_environment(), "TMPDIR": str(folder), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


class Viewer:
    """A command that attaches to a service.

    Args:
        service: to that one.
        folder: for what it leaves behind, and its output.
        arguments: beside the number of the process.
    """

    def __init__(self, service: Service, folder: Path, *arguments: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="attach-"))  # a socket's path must be short
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.output = folder / "viewer.out"
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                command(service, str(service.pid), *arguments),
                cwd=self.folder,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=environment(self.folder),
            )

    def text(self) -> str:
        return self.output.read_text()

    def until(self, text: str, timeout_s: float = 40.0) -> str:
        """Its output, once it says so."""
        deadline = time.monotonic() + timeout_s
        while text not in self.text():
            assert time.monotonic() < deadline, self.text()
            assert self.process.poll() is None or text in self.text(), self.text()
            time.sleep(0.05)
        return self.text()

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)

    def left(self) -> list[str]:
        """Files that it has left behind."""
        return sorted(os.listdir(self.folder))


def refused(*arguments: str, service: Service | None = None, folder: Path) -> tuple[int, str]:
    """Exit code and output of a command that is to end by itself."""
    done = subprocess.run(
        command(service, *arguments),
        capture_output=True,
        text=True,
        timeout=90,
        cwd=folder,
        env=environment(folder),
    )
    return done.returncode, done.stdout + done.stderr
