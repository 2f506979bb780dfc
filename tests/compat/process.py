"""A process that runs tests: what stands in its path, how long it may take, what is left of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

INSIDE = Path(__file__).parent / "inside"
"""What runs in such a process."""


def environment(*path: Path, **variables: str) -> dict[str, str]:
    """This one's, without what is said to OpenTelemetry and pytest; what runs inside is in its path."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PYTEST_", "COV_"))
    }
    ours["PYTHONPATH"] = os.pathsep.join(map(str, (INSIDE, *path)))
    return {**ours, **variables}


def _heed_signals() -> None:
    # A job in the background ignores these; tests that send them would then go on for ever.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def end_of(command: list[str], folder: Path, variables: dict[str, str], timeout_s: float) -> str:
    """Run the command; how it ended and the last of what it wrote. Nothing that it started is left."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=_heed_signals,
    )
    try:
        written, _ = process.communicate(timeout=timeout_s)
        end = f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        end = f"not over after {timeout_s:g} s"
        os.killpg(process.pid, signal.SIGKILL)
        # Another session's process may still hold the pipe.
        try:
            written, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            written = ""
    with contextlib.suppress(ProcessLookupError):  # what a test has left behind
        os.killpg(process.pid, signal.SIGKILL)
    return f"{end}\n{written[-2000:]}"
