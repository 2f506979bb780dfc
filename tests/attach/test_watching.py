"""A running uvicorn is watched, and is afterwards as it was before, however the command ends."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from tests.attach.running import Service, Viewer, command, environment, same


@pytest.fixture
def service(loop_kind, tmp_path):
    with Service(tmp_path, loop_kind) as service:
        yield service


def test_blocks_are_shown_with_line_call_cause_and_advice_and_all_is_taken_out(service, loop_kind, tmp_path):
    before = service.state()
    viewer = Viewer(service, tmp_path)
    viewer.until(f"watching process {service.pid} ({loop_kind}) for blocks of 10 ms and more")
    assert service.state()["changed"]
    service.get("/block/0.08")
    text = viewer.until("blocked 8")
    assert "service.py:" in text
    assert "charge_card → time.sleep (wait). Use await asyncio.sleep(...)." in text
    assert viewer.end() == 0
    assert f"all is taken out of process {service.pid} again" in viewer.text()
    after = service.settled(before)
    assert same(after, before), after
    assert after["path"] == before["path"]
    assert after["opentelemetry"] == []
    assert viewer.left() == []


def test_process_is_as_before_when_the_viewer_is_killed(service, tmp_path):
    before = service.state()
    viewer = Viewer(service, tmp_path)
    viewer.until("watching process")
    assert not same(service.state(), before)
    viewer.end(signal.SIGKILL)
    after = service.settled(before)
    assert same(after, before), after
    assert viewer.left() == []


def test_command_ends_by_itself_after_a_while(service, tmp_path):
    viewer = Viewer(service, tmp_path, "--for", "1")
    assert viewer.process.wait(60) == 0
    assert "nothing has blocked its loops" in viewer.text()
    assert "all is taken out" in viewer.text()


def test_end_of_the_process_is_said(service, tmp_path):
    viewer = Viewer(service, tmp_path)
    viewer.until("watching process")
    service.process.kill()
    service.process.wait()
    assert viewer.process.wait(30) == 0
    assert f"process {service.pid} has ended" in viewer.text()


def sockets(pid):
    names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return {name for name in names if name.startswith("socket:")}


def test_forked_child_holds_nothing_of_the_session(service, tmp_path):
    viewer = Viewer(service, tmp_path)
    viewer.until("watching process")
    child = service.get("/fork")["child"]
    try:
        deadline = time.monotonic() + 20
        while sockets(service.pid) <= sockets(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not sockets(service.pid) <= sockets(child)
        assert viewer.end() == 0
        assert "all is taken out" in viewer.text()
    finally:
        os.kill(child, signal.SIGKILL)


def test_process_that_is_watched_already_is_refused(service, tmp_path):
    first = Viewer(service, tmp_path)
    first.until("watching process")
    (tmp_path / "second").mkdir()
    second = Viewer(service, tmp_path / "second")
    assert second.process.wait(40) == 1
    assert "another otel-loopblock attach watches it already" in second.text()
    service.get("/block/0.05")
    first.until("charge_card")
    assert first.end() == 0


def test_terminal_shows_a_table_of_the_culprits_meanwhile(service, tmp_path):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    viewer = subprocess.Popen(
        command(service, str(service.pid)),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=tmp_path,
        env={**environment(tmp_path), "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(slave)
    try:
        read_until(master, "watching process")
        service.get("/block/0.08")
        seen = read_until(master, "last: ")
        assert "charge_card" in seen
        assert "taken" in seen  # a head of the table
        viewer.send_signal(signal.SIGINT)
        assert "all is taken out" in read_until(master, "all is taken out")
        assert viewer.wait(20) == 0
    finally:
        viewer.kill()
        viewer.wait()
        os.close(master)


def read_until(master, text):
    seen = ""
    deadline = time.monotonic() + 40
    while text not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([master], [], [], 0.2)[0]:
            seen += os.read(master, 65536).decode(errors="replace")
    return seen


BARE = """
import asyncio, os, signal, sys, time

def execute(number, frame):
    with open(os.environ["WANTED"]) as wanted, open(wanted.read()) as script:
        exec(compile(script.read(), "script", "exec"), {})

def grind():
    time.sleep(0.06)

async def main():
    signal.signal(signal.SIGUSR1, execute)
    print("ready", flush=True)
    while not os.path.exists("over"):
        await asyncio.sleep(0.05)
        grind()
    print([name for name in ("opentelemetry", "wrapt", "rich") if name in sys.modules], flush=True)

asyncio.run(main())
"""


def test_process_needs_nothing_installed(tmp_path):
    wanted = tmp_path / "wanted"
    service = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", BARE],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={"WANTED": str(wanted)},
        text=True,
    )
    try:
        assert service.stdout.readline() == "ready\n"
        stand_in = Service.__new__(Service)
        stand_in.wanted, stand_in.pid = wanted, service.pid
        viewer = Viewer(stand_in, tmp_path)
        viewer.until("grind → time.sleep (wait)")
        assert viewer.end() == 0
        (tmp_path / "over").touch()
        assert service.stdout.readline() == "[]\n"
        assert service.wait(20) == 0
    finally:
        service.kill()
        service.wait()
        service.stdout.close()
