"""What asks the machine, or starts other programs."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

_PSUTIL = "https://psutil.readthedocs.io/en/latest/"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "psutil.cpu_percent psutil.cpu_times_percent psutil.Process.cpu_percent",
        "sleep",
        "Call psutil.cpu_percent(interval=None): it does not wait, and compares with the call before.",
        _PSUTIL,
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "psutil.wait_procs psutil.Process.wait",
        "process",
        "Start the child by await asyncio.create_subprocess_exec(...), or wait in a thread.",
        _PSUTIL,
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "psutil.*",
        "file",
        f"Ask in a thread: {IN_THREAD}; it reads files of each process.",
        _PSUTIL,
        "2026-11",
    ),
    *known_calls(
        "git.*",
        "process",
        f"Run git in a thread: {IN_THREAD}; it starts a process and waits.",
        "https://gitpython.readthedocs.io/en/stable/tutorial.html",
        "2026-11",
    ),
    *known_calls(
        "keyring.*",
        "file",
        f"Ask the keyring in a thread: {IN_THREAD}.",
        "https://keyring.readthedocs.io/en/latest/",
        "2026-11",
    ),
)
