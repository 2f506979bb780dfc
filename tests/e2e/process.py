"""A real program in a process of its own: started, watched, killed, started again."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

START_TIMEOUT_S = 60.0


class Program:
    """A program that is ready when ``health`` answers 200."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        health: str,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self._health = health
        self._environ = {**os.environ, **(environ or {})}
        self._cwd = cwd
        self._log = tempfile.NamedTemporaryFile("w+", prefix=f"{name}-", suffix=".log")  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None
        self._last_words = ""

    def start(self) -> Program:
        self._process = subprocess.Popen(
            self.command, env=self._environ, cwd=self._cwd, stdout=self._log, stderr=subprocess.STDOUT
        )
        try:
            wait_for(self._is_ready, f"{self.name} to be ready", timeout_s=START_TIMEOUT_S)
        except AssertionError as error:
            self.stop()
            raise RuntimeError(f"{error}\n{' '.join(self.command)}\n{self.output()[-4000:]}") from None
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self._process.returncode}")
        try:
            return httpx.get(self._health, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def kill(self) -> None:
        """As a machine does that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        self._last_words = self.output()
        self._log.close()

    def output(self) -> str:
        return self._last_words if self._log.closed else Path(self._log.name).read_text(errors="replace")


def wait_for(found: Callable[[], object], what: str, *, timeout_s: float = 40.0, every_s: float = 0.2):
    """What ``found`` returns, as soon as that is true.

    Raises:
        AssertionError: it never was.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        result = found()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(every_s)
