"""What blockbuster documents as blocking is caught where it does block; and CPU work, which it cannot see."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import select
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
import requests

from otel_loopblock.testing import EventLoopBlocked, detect_blocking

BLOCK_S = 0.05


def after(seconds, function):
    """Call ``function`` from a thread, later."""
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


@contextlib.contextmanager
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(end)


@contextlib.contextmanager
def sockets():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def time_sleep():
    time.sleep(BLOCK_S)


def os_read():
    with pipe() as (reading, writing):
        after(BLOCK_S, lambda: os.write(writing, b"x"))
        os.read(reading, 1)


def socket_recv():
    with sockets() as (ours, theirs):
        after(BLOCK_S, lambda: theirs.sendall(b"x"))
        ours.recv(1)


def socket_accept():
    with socket.create_server(("127.0.0.1", 0)) as server:
        after(BLOCK_S, lambda: socket.create_connection(server.getsockname()).close())
        server.accept()[0].close()


def select_select():
    with sockets() as (ours, _):
        select.select([ours], [], [], BLOCK_S)


def lock_acquire():
    lock = threading.Lock()
    lock.acquire()
    after(BLOCK_S, lock.release)
    lock.acquire()


def sqlite_execute():
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
            " SELECT max(i) FROM n"
        )


def subprocess_run():
    subprocess.run([sys.executable, "-c", "pass"], check=True)


class _Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(BLOCK_S)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def requests_get():
    with http.server.HTTPServer(("127.0.0.1", 0), _Slow) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        requests.get(f"http://127.0.0.1:{server.server_port}/", timeout=10)


def computing_python():
    until = time.thread_time() + BLOCK_S
    while time.thread_time() < until:
        pass


def computing_sum():
    sum(range(4_000_000))


def computing_json():
    json.loads("[" + "1," * 2_000_000 + "1]")


def computing_hash():
    hashlib.sha256(bytes(80_000_000)).digest()


def computing_sort():
    sorted(range(2_000_000), key=lambda n: -n)


WAITING = {
    time_sleep: "time.sleep",
    os_read: "os.read",
    socket_recv: "recv",
    socket_accept: "accept",
    select_select: "select.select",
    lock_acquire: "acquire",
    sqlite_execute: "execute",
    subprocess_run: "subprocess.run",
    requests_get: "requests.get",
}
COMPUTING = [computing_python, computing_sum, computing_json, computing_hash, computing_sort]


@pytest.mark.parametrize("function", [*WAITING, *COMPUTING], ids=lambda function: function.__name__)
def test_call_that_blocks_is_caught_at_its_line(run, function):
    async def main():
        function()

    with pytest.raises(EventLoopBlocked) as raised, detect_blocking():
        run(main())

    block = max(raised.value.blocks, key=lambda block: block.duration_s)
    assert block.culprit.file == __file__
    first = function.__code__.co_firstlineno
    assert first < block.culprit.line <= max(line for *_, line in function.__code__.co_lines() if line)
    expected = WAITING.get(function)
    if expected is not None:
        assert block.call is not None
        assert expected in block.call
