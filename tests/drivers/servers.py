"""Real servers for the drivers under test, started as programs of this machine and stopped again."""

from __future__ import annotations

import getpass
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def program(name: str, folders: str = "") -> str:
    """The path of a program; without it the test is skipped on a developer's machine, and fails in CI.

    Args:
        name: of the program.
        folders: a glob pattern of folders outside the path, where a distribution may put it.
    """
    found = shutil.which(name) or next(iter(sorted(glob.glob(f"{folders}/{name}"), reverse=True)), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed; .ci/run installs it")
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server of its own; gives the address to connect to."""
    initdb = program("initdb", "/usr/lib/postgresql/*/bin")
    pg_ctl = program("pg_ctl", "/usr/lib/postgresql/*/bin")
    # It refuses to run as root.
    user = "postgres" if os.getuid() == 0 else getpass.getuser()
    become = ["runuser", "-u", user, "--"] if os.getuid() == 0 else []
    folder = tempfile.mkdtemp(prefix="postgres-")
    port = free_port()
    try:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        data, log = f"{folder}/data", f"{folder}/log"
        _do([*become, initdb, "-D", data, "-U", "test", "-A", "trust", "-N"], folder)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        _do([*become, pg_ctl, "-D", data, "-l", log, "-w", "-t", "60", "-o", options, "start"], folder)
        try:
            yield f"host=127.0.0.1 port={port} user=test dbname=postgres"
        finally:
            _do([*become, pg_ctl, "-D", data, "-m", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _do(command: list[str], folder: str) -> None:
    # Output to a file: the server that pg_ctl leaves behind would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, timeout=120)
        output.seek(0)
        assert done.returncode == 0, output.read()


@contextmanager
def redis() -> Iterator[int]:
    """A Redis server of its own; gives its port."""
    server = program("redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.05)
    raise AssertionError("the server does not answer")
