"""A service under ``opentelemetry-instrument uvicorn``, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType

START_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 5.0
ATTEMPTS = 3
"""Between finding a free port and listening on it somebody else may take it."""


class ServiceProcess:
    """A running service; use it in a ``with`` statement, at whose end no process of it is left.

    Args:
        app: module and attribute, as uvicorn wants them.
        loop: ``asyncio`` or ``uvloop``.
        environ: the whole environment of the service.
        health: a path that answers, whatever it answers, when the service is ready.
        port: where it shall listen; 0: on any free port.
    """

    def __init__(
        self, app: str, *, loop: str, environ: Mapping[str, str], health: str = "/health", port: int = 0
    ) -> None:
        self._app = app
        self._loop = loop
        self._environ = dict(environ)
        self._health = health
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (closed by stop)
        self._output = b""
        self._wanted_port = port
        self.port = port

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> str:
        """The command as a user would type it."""
        return f"opentelemetry-instrument uvicorn {self._app} --loop {self._loop}"

    def __enter__(self) -> ServiceProcess:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it did not; the message ends with what it printed last.
        """
        try:
            for attempt in range(1, ATTEMPTS + 1):
                self.port = self._wanted_port or _free_port()
                self._start()
                if self._is_ready():
                    return self
                self._end()
                taken = b"address already in use" in self._read_log()
                if not taken or self._wanted_port or attempt == ATTEMPTS:
                    raise RuntimeError(self._why_not())
            raise AssertionError("unreachable")
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def stop(self) -> None:
        """End it and whatever it started; what it printed can still be read."""
        self._end()
        self._output = self._read_log()
        self._log.close()

    def output(self) -> str:
        """All that it printed so far."""
        return self._read_log().decode(errors="replace")

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        instrument = _script("opentelemetry-instrument")
        command = [instrument, sys.executable, "-m", "uvicorn", self._app, "--loop", self._loop]
        # Said, because uvicorn would take the address from the environment otherwise.
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--log-level", "warning", "--no-access-log"]
        self._process = subprocess.Popen(
            command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is for the starter, which ends this in order
        )

    def _is_ready(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.is_alive() and time.monotonic() < deadline:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", self._health)
                connection.getresponse()
                if self.is_alive():
                    return True
            except (OSError, HTTPException):
                time.sleep(0.1)
            finally:
                connection.close()
        return False

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
        # The processes of a pool outlive a service that did not end in order.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _read_log(self) -> bytes:
        if self._log.closed:
            return self._output
        return os.pread(self._log.fileno(), 1 << 24, 0)

    def _why_not(self) -> str:
        lines = self._read_log().decode(errors="replace").strip().splitlines()
        last = "".join(f"\n  {line}" for line in lines[-8:])
        return f"the service did not start within {START_TIMEOUT_S:g} s: {self.command}{last}"


def _script(name: str) -> str:
    """A script of this environment, which need not be on the PATH."""
    folders = (sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise RuntimeError(f"{name} was not found; pip install 'otel-loopblock[demo]'")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
