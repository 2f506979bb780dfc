"""Starting processes, and waiting for them."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import PY, known_calls

_PROCESS = f"{PY}asyncio-subprocess.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "subprocess.* subprocess.run subprocess.call subprocess.check_call subprocess.check_output",
        "process",
        "Use await asyncio.create_subprocess_exec(...), then await process.communicate().",
        f"{_PROCESS}#asyncio.create_subprocess_exec",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "subprocess.Popen.wait subprocess.Popen.communicate",
        "process",
        "Use await asyncio.create_subprocess_exec(...), then await process.wait() or process.communicate().",
        f"{_PROCESS}#asyncio.subprocess.Process.communicate",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "os.system os.popen",
        "process",
        "Use await asyncio.create_subprocess_shell(cmd).",
        f"{_PROCESS}#asyncio.create_subprocess_shell",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "os.wait os.wait3 os.wait4 os.waitpid os.waitid",
        "process",
        "Start the child by await asyncio.create_subprocess_exec(...), then await process.wait().",
        _PROCESS,
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "os.fork os.forkpty pty.fork",
        "process",
        "Fork before the loop starts, or use await asyncio.create_subprocess_exec(...): a fork copies "
        "page tables.",
        f"{PY}os.html#os.fork",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "os.posix_spawn os.posix_spawnp os.spawn* subprocess.Popen._execute_child "
        "_posixsubprocess.fork_exec asyncio.create_subprocess_exec asyncio.create_subprocess_shell "
        "asyncio.subprocess.create_subprocess_exec asyncio.subprocess.create_subprocess_shell "
        "uvloop.Loop.subprocess_exec uvloop.Loop.subprocess_shell",
        "process",
        "Start processes less often: keep workers that live on. A start takes longer the larger this "
        "process is.",
        f"{PY}subprocess.html#subprocess.Popen",
        "2026-11",
        low_level=True,
    ),
)
