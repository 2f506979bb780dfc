"""What can be known of a process from outside, and why it cannot be attached to. Linux tells most."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

FIRST = (3, 14)
"""The first Python that can be asked to run something from outside."""

PROC = Path("/proc")

ENDS_S = 1.0
"""A process that ends closes its files first."""

_COOKIE = b"xdebugpy"
"""What the data for debuggers begin with, in every Python from 3.13 on; the version follows."""

_NAME = re.compile(r"python(3)\.(\d+)")

Version = tuple[int, int]


class CannotAttach(Exception):
    """The process cannot be watched; the message is one line."""


def check(pid: int) -> None:
    """Look at a process from outside.

    Args:
        pid: of the process.

    Raises:
        CannotAttach: it cannot be attached to, from here.
    """
    if pid == os.getpid():
        raise CannotAttach(f"{pid} is this very command")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise CannotAttach(f"there is no process {pid}") from None
    except (PermissionError, OverflowError):
        pass  # said better below
    if not PROC.joinpath("self").exists():  # not Linux: Python's own words must do
        _check_own_version(None, None, pid)
        return
    folder = PROC / str(pid)
    try:
        owner = folder.stat().st_uid
    except OSError:
        raise CannotAttach(f"there is no process {pid}") from None
    if owner != os.geteuid():
        raise CannotAttach(
            f"process {pid} belongs to another user, {_user(owner)}: run this command as that user, "
            f"such as with sudo -u {_user(owner)}"
        )
    executable = _link(folder / "exe")
    version = python_version(folder)
    if version is None:
        raise CannotAttach(f"process {pid} is no Python: it runs {executable or 'nothing that can be seen'}")
    if version < FIRST:
        raise CannotAttach(
            f"process {pid} runs Python {_text(version)}: only from {_text(FIRST)} on can one be attached "
            "to. Start it with otel-loopblock run, or instrument it"
        )
    _check_own_version(version, executable, pid)


def _check_own_version(version: Version | None, executable: str | None, pid: int) -> None:
    own = sys.version_info[:2]
    if own == version or (version is None and own >= FIRST):
        return
    wanted = _text(version) if version is not None else f"{_text(FIRST)} or later, the same as the process"
    other = executable or f"python{_text(version or FIRST)}"
    raise CannotAttach(
        f"this command runs on Python {_text(own)}, it takes {wanted}: "
        f"{other} -m otel_loopblock.cli attach {pid}, where otel-loopblock[run] is installed"
    )


def python_version(folder: Path) -> Version | None:
    """Which Python a process runs: 3.13 and later say so themselves, of others the file's name does.

    Args:
        folder: of the process, below ``/proc``.

    Returns:
        ``None`` for what is no Python, or cannot be looked at.
    """
    files = list(_files(folder))
    for file in files:
        found = _version_within(file)
        if found is not None:
            return found
    for name in (_link(folder / "exe") or "", *map(str, files)):
        match = _NAME.search(os.path.basename(name))
        if match is not None:
            return int(match[1]), int(match[2])
    return None


def _files(folder: Path) -> Iterator[Path]:
    """The program, and the shared libraries by whose name it may be Python."""
    yield folder / "exe"
    try:
        lines = (folder / "maps").read_text(errors="replace").splitlines()
    except OSError:
        return
    for path in dict.fromkeys(line[line.find("/") :] for line in lines if "/" in line):
        if os.path.basename(path).startswith("libpython"):
            yield Path(f"{folder}/root{path}")


def _version_within(path: Path) -> Version | None:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = data.find(_COOKIE)
            while at >= 0:
                read = data[at + len(_COOKIE) : at + len(_COOKIE) + 8]
                number = struct.unpack("=Q", read)[0] if len(read) == 8 else 0
                version = (number >> 24, number >> 16 & 0xFF)
                if number < 1 << 32 and version[0] == 3 and version >= (3, 13):
                    return version
                at = data.find(_COOKIE, at + 1)
    except (OSError, ValueError):  # a file that is empty, or gone
        pass
    return None


def sees(pid: int, path: Path) -> bool:
    """Whether a process finds the same under a path as this one; true where that cannot be told."""
    if not PROC.joinpath("self").exists():
        return True
    try:
        return os.path.samestat(os.stat(f"{PROC}/{pid}/root{path}"), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return not is_alive(pid)
    except OSError:
        return True


def children(pid: int) -> list[int]:
    """The Python processes that a process has started; Linux only."""
    found: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        for task in (PROC / str(pid) / "task").iterdir():
            found += [int(each) for each in (task / "children").read_text().split()]
    return [each for each in found if python_version(PROC / str(each)) is not None]


def is_alive(pid: int) -> bool:
    """Whether a process has not ended yet; one that nobody has waited for has."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    with contextlib.suppress(OSError, IndexError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def has_ended(pid: int) -> bool:
    """Whether a process whose connection has ended did so as it ended itself: that may take a moment more."""
    until = time.monotonic() + ENDS_S
    while is_alive(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def why_not(error: BaseException, pid: int) -> str:
    """In a user's words why Python could not ask a process to run something.

    Args:
        error: what ``sys.remote_exec`` has raised.
        pid: of the process.
    """
    text = str(error)
    if "not enabled" in text:
        return (
            f"process {pid} has remote debugging switched off: it was started with "
            "PYTHON_DISABLE_REMOTE_DEBUG, -X disable_remote_debug, or a Python built without it"
        )
    if isinstance(error, PermissionError) or "ermission" in text:
        scope = ""
        with contextlib.suppress(OSError):
            scope = (PROC / "sys/kernel/yama/ptrace_scope").read_text().strip()
        forbids = f" (kernel.yama.ptrace_scope is {scope})" if scope not in ("", "0") else ""
        return (
            f"the system does not let this command look into process {pid}{forbids}: "
            "it takes the right to trace it, as a debugger has"
        )
    if isinstance(error, ProcessLookupError) or not is_alive(pid):
        return f"process {pid} has ended"
    return f"process {pid} cannot be asked to run anything: {text or repr(error)}"


def _link(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _user(number: int) -> str:
    import pwd  # here: not on every system

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
