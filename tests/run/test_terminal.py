"""``otel-loopblock run`` on a terminal: the whole command in an emulated one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyte
import pytest

from tests.run.running import APP, COMMAND, ROOT, clean_environment, free_port, get, load, wait_until_ready

ROWS = 30


class Terminal:
    """A command on a terminal of its own, with a session of its own, as a terminal window starts it."""

    def __init__(self, words: list[str], columns: int) -> None:
        self.columns = columns
        self.raw = b""
        self.screen = pyte.HistoryScreen(columns, ROWS, history=2000)
        self.stream = pyte.ByteStream(self.screen)
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            size = struct.pack("HHHH", ROWS, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.chdir(ROOT)
            os.execve(words[0], words, {**clean_environment(), "TERM": "xterm-256color"})

    def read(self, seconds: float) -> bool:
        """Read for a while; false at the end."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:
                    return False
                if not piece:
                    return False
                self.raw += piece
                self.stream.feed(piece)
        return True

    def read_during(self, work: Callable[[], object]) -> None:
        """Do something meanwhile: who writes to a terminal that nobody reads from has to wait."""
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(work)
            while not done.done():
                assert self.read(0.1), self.shown()
        done.result()

    def wait_for(self, text: str, seconds: float = 120) -> str:
        until = time.monotonic() + seconds
        while text not in self.shown():
            assert time.monotonic() < until, self.shown()
            assert self.read(0.2), self.shown()
        return self.shown()

    def end(self) -> tuple[int, str]:
        """The exit status, and all lines that were on the screen, those that have scrolled away as well."""
        until = time.monotonic() + 60
        while self.read(0.2):
            assert time.monotonic() < until, self.shown()
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        past = [
            "".join(line[column].data for column in range(self.columns)) for line in self.screen.history.top
        ]
        return status, "\n".join(line.rstrip() for line in (*past, *self.screen.display))

    def shown(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def close(self) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)


@pytest.fixture
def terminal():
    started: list[Terminal] = []

    def start(words: list[str], columns: int = 100) -> Terminal:
        started.append(Terminal(words, columns))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_panel_lives_below_the_service_s_output(loop_kind, terminal):
    port = free_port()
    service = ["uvicorn", APP, "--port", str(port), "--loop", loop_kind]
    shown = terminal([*COMMAND, "--", *service])
    shown.wait_for("Waiting for the service's event loop")
    shown.read_during(lambda: (wait_until_ready(port), load(port)))
    shown.wait_for("charge_card")
    shown.wait_for("lag ≤")
    assert "last: " in shown.shown()
    shown.read_during(lambda: get(port, "/say"))
    shown.wait_for("said by the service True")
    os.write(shown.master, b"\x03")
    status, everything = shown.end()
    assert os.waitstatus_to_exitcode(status) == 0
    assert "Application shutdown complete." in everything
    assert "What blocked the loop" in everything
    assert b"\x1b[32mINFO\x1b[0m:" in shown.raw  # uvicorn's own colours
    assert re.search(r"otel-loopblock run: uvicorn .*blocks", everything.replace("\n", " "))


def test_sixty_columns(terminal):
    port = free_port()
    shown = terminal([*COMMAND, "--", "uvicorn", APP, "--port", str(port), "--no-access-log"], 60)
    shown.read_during(lambda: (wait_until_ready(port), load(port)))
    text = shown.wait_for("charge_card")
    rows = [line for line in text.splitlines() if "charge_card" in line]
    assert any(re.search(r"^charge_card:16 +\w+ +\d+ +\d+ ms", line) for line in rows), text
    os.write(shown.master, b"\x03")
    status, everything = shown.end()
    assert status == 0
    assert "The longest block on a trace" in everything


def test_service_s_bytes_come_as_they_are(terminal):
    """The same program alone on a terminal and under us: what it writes is the same to the last byte."""
    program = (
        "import sys, time\n"
        "for share in range(5):\n    print(f'\\r\\x1b[33m{share * 20} %', end='', flush=True)\n"
        "    time.sleep(0.3)\n"
        "print('\\x1b[0m\\n…done', sys.stdin.isatty(), sys.stdout.isatty(), sys.stderr.isatty())\n"
        "print('to stderr', file=sys.stderr)\n"
    )
    words = [sys.executable, "-c", program]
    alone, ours = terminal(words), terminal([*COMMAND, "--", *words])
    assert alone.end()[0] == ours.end()[0] == 0
    ours_alone = re.sub(rb"\x1b7.*?\x1b8", b"", ours.raw, flags=re.DOTALL)
    assert alone.raw in ours_alone


def test_keys_reach_the_service(terminal):
    shown = terminal([*COMMAND, "--", sys.executable, "-c", "print('got', input('name? '))"])
    shown.wait_for("name?")
    os.write(shown.master, b"loop\r")
    assert "got loop" in shown.end()[1]


def test_ctrl_c_comes_once_to_all_processes_of_the_service(terminal):
    one = (
        "import os, signal, time\n"  # by one call each: what two processes print may mix
        "signal.signal(signal.SIGINT, lambda *_: os.write(1, b'interrupted\\n'))\n"
        "print('up', flush=True)\nsignal.pause()\ntime.sleep(1)\n"
    )
    program = (
        "import subprocess, sys\n"
        f"other = subprocess.Popen([sys.executable, '-c', {one!r}])\n"
        f"exec({one!r})\n"
        "other.wait()\n"
    )
    shown = terminal([*COMMAND, "--", sys.executable, "-c", program])
    until = time.monotonic() + 60
    while shown.shown().count("up") < 2:
        assert shown.read(0.2)
        assert time.monotonic() < until
    os.write(shown.master, b"\x03")
    assert len(re.findall(r"^(?:\^C)?interrupted$", shown.end()[1], re.MULTILINE)) == 2


def test_terminal_is_as_before_when_the_service_is_killed(terminal):
    program = "import os, signal, time; time.sleep(1); os.kill(os.getpid(), signal.SIGKILL)"
    words = [*COMMAND, "--", sys.executable, "-c", program]
    script = 'before=$(stty -g); "$@"; echo "code $?"; [ "$(stty -g)" = "$before" ] && echo the same'
    shown = terminal(["/bin/sh", "-c", script, "sh", *words])
    everything = shown.end()[1]
    assert "code 137" in everything
    assert "the same" in everything


def test_suspending_stops_the_service_too(terminal):
    """Ctrl-Z under a shell with job control, then ``fg``."""
    program = "import time\nfor n in range(100): print('tick', n, flush=True); time.sleep(0.2)"
    words = " ".join(f"'{word}'" for word in (*COMMAND, "--", sys.executable, "-u", "-c"))
    shown = terminal(["/bin/bash", "--norc", "--noprofile", "-i"])
    quoted = program.replace("'", "'\\''")
    os.write(shown.master, f"{words} '{quoted}'\r".encode())
    shown.wait_for("tick 3")
    os.write(shown.master, b"\x1a")
    shown.wait_for("Stopped")
    shown.read(1.0)
    last = re.findall(r"tick (\d+)", shown.shown())[-1]
    shown.read(1.5)
    assert re.findall(r"tick (\d+)", shown.shown())[-1] == last
    os.write(shown.master, b"fg\r")
    shown.wait_for(f"tick {int(last) + 3}")
    os.write(shown.master, b"\x03")
    shown.wait_for("in all")
    os.write(shown.master, b"exit\r")
    shown.end()
