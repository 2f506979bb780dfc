"""What blockbuster documents as blocking is caught where it does block; and CPU work, which it cannot see.

Each function of its list that ordinary means can make slow is made slow, by a peer that takes its time or by
more data than can be moved at once. The line that ends in ``# here`` is the one to be named. Not here are
calls that look something up in a file system (``os.stat``, ``os.listdir``, ``os.rename`` …): on a disk that
works they do not block.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import http.server
import inspect
import io
import json
import os
import select
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import pytest
import requests
import trustme

from otel_loopblock.testing import EventLoopBlocked, detect_blocking

BLOCK_S = 0.05

MUCH = bytes(8_000_000)
"""More than any pipe or socket buffers."""


_timers = []


def after(seconds, function):
    """Call ``function`` from a thread, later."""
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
    _timers.append(timer)


def wait_for_timers():
    """Who still reads from a descriptor would read from the next one of the same number."""
    while _timers:
        _timers.pop().join(10)


@contextlib.contextmanager
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    with contextlib.suppress(OSError):
        os.close(writing)
    wait_for_timers()
    os.close(reading)


@contextlib.contextmanager
def sockets():
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            yield ours, theirs
        wait_for_timers()


def drain(read):
    """Take all that comes."""
    with contextlib.suppress(OSError, ValueError):
        while read(1_000_000):
            pass


@functools.cache
def certificates():
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@contextlib.contextmanager
def tls(then):
    """A TLS connection to a peer that does ``then``, late, with its own end."""
    server, client = certificates()
    ours, theirs = socket.socketpair()

    def peer():
        with contextlib.suppress(OSError), server.wrap_socket(theirs, server_side=True) as secure:
            time.sleep(BLOCK_S)
            then(secure)

    thread = threading.Thread(target=peer, daemon=True)
    thread.start()
    with client.wrap_socket(ours, server_hostname="localhost") as secure:
        yield secure
    thread.join(10)


def time_sleep():
    time.sleep(BLOCK_S)  # here


# -- os -----------------------------------------------------------------------------------------------------


def os_read():
    with pipe() as (reading, writing):
        after(BLOCK_S, lambda: os.write(writing, b"x"))
        os.read(reading, 1)  # here


def os_write():
    with pipe() as (reading, writing):
        after(BLOCK_S, lambda: drain(functools.partial(os.read, reading)))
        left = memoryview(MUCH)
        while left:
            written = os.write(writing, left)  # here
            left = left[written:]


def os_sendfile():
    with sockets() as (ours, theirs), tempfile.TemporaryFile() as file:
        file.truncate(len(MUCH))
        after(BLOCK_S, lambda: drain(theirs.recv))
        sent = 0
        while sent < len(MUCH):
            sent += os.sendfile(ours.fileno(), file.fileno(), sent, len(MUCH))  # here


# -- io -----------------------------------------------------------------------------------------------------


def io_buffered_reader_read():
    with pipe() as (reading, writing), open(reading, "rb", closefd=False) as file:
        after(BLOCK_S, lambda: os.write(writing, b"x"))
        file.read(1)  # here


def io_buffered_writer_write():
    with pipe() as (reading, writing), open(writing, "wb", closefd=False) as file:
        after(BLOCK_S, lambda: drain(functools.partial(os.read, reading)))
        file.write(MUCH)  # here


def io_buffered_random_read():
    with tempfile.TemporaryFile() as file:
        file.truncate(200_000_000)
        file.read()  # here


def io_buffered_random_write():
    data = bytes(150_000_000)
    with open(os.memfd_create("large"), "w+b") as file:
        assert isinstance(file, io.BufferedRandom)
        file.write(data)  # here


def io_text_wrapper_read():
    with pipe() as (reading, writing), open(reading, closefd=False) as file:
        after(BLOCK_S, lambda: (os.write(writing, b"x"), os.close(writing)))
        file.read()  # here


def io_text_wrapper_write():
    text = MUCH.decode()
    with pipe() as (reading, writing), open(writing, "w", closefd=False) as file:
        after(BLOCK_S, lambda: drain(functools.partial(os.read, reading)))
        file.write(text)  # here


# -- socket -------------------------------------------------------------------------------------------------


def socket_connect():
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/socket")
        server.listen(0)
        with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
            first.connect(f"{folder}/socket")  # fills the queue
            after(BLOCK_S, lambda: server.accept()[0].close())
            second.connect(f"{folder}/socket")  # here


def socket_accept():
    with socket.create_server(("127.0.0.1", 0)) as server:
        after(BLOCK_S, lambda: socket.create_connection(server.getsockname()).close())
        server.accept()[0].close()  # here


def socket_send():
    with sockets() as (ours, theirs):
        after(BLOCK_S, lambda: drain(theirs.recv))
        left = memoryview(MUCH)
        while left:
            sent = ours.send(left)  # here
            left = left[sent:]


def socket_sendall():
    with sockets() as (ours, theirs):
        after(BLOCK_S, lambda: drain(theirs.recv))
        ours.sendall(MUCH)  # here


def socket_sendto():
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
    ):
        address = f"{folder}/socket"
        receiver.bind(address)
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.sendto(b"x", address)
        sender.setblocking(True)
        after(BLOCK_S, lambda: receiver.recv(1))
        sender.sendto(b"x", address)  # here


@contextlib.contextmanager
def late_byte():
    with sockets() as (ours, theirs):
        after(BLOCK_S, lambda: theirs.sendall(b"x"))
        yield ours


def socket_recv():
    with late_byte() as ours:
        ours.recv(1)  # here


def socket_recv_into():
    with late_byte() as ours:
        ours.recv_into(bytearray(1))  # here


def socket_recvfrom():
    with late_byte() as ours:
        ours.recvfrom(1)  # here


def socket_recvfrom_into():
    with late_byte() as ours:
        ours.recvfrom_into(bytearray(1))  # here


def socket_recvmsg():
    with late_byte() as ours:
        ours.recvmsg(1)  # here


def select_select():
    with sockets() as (ours, _):
        select.select([ours], [], [], BLOCK_S)  # here


# -- ssl ----------------------------------------------------------------------------------------------------


def ssl_read():
    with tls(lambda peer: peer.sendall(b"x")) as secure:
        secure.read(1)  # here


def ssl_recv():
    with tls(lambda peer: peer.sendall(b"x")) as secure:
        secure.recv(1)  # here


def ssl_write():
    with tls(lambda peer: drain(peer.recv)) as secure:
        secure.write(MUCH)  # here


def ssl_send():
    with tls(lambda peer: drain(peer.recv)) as secure:
        secure.send(MUCH)  # here


# -- sqlite3 ------------------------------------------------------------------------------------------------

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700000) SELECT max(i) FROM n"
LAST_IS_SLOW = f"SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT * FROM ({SLOW})"
SLOW_SCRIPT = f"CREATE TABLE t (i); INSERT INTO t {SLOW};"
INSERT = "INSERT INTO t VALUES (?)"
NUMBERS = [(number,) for number in range(200_000)]


@contextlib.contextmanager
def database(path=":memory:"):
    with contextlib.closing(sqlite3.connect(path, timeout=10, check_same_thread=False)) as connection:
        yield connection


@contextlib.contextmanager
def cursor(statement="CREATE TABLE u (i)"):
    with database() as connection:
        found = connection.cursor()
        found.execute(statement)
        yield found


def sqlite_cursor_execute():
    with cursor() as found:
        found.execute(SLOW)  # here


def sqlite_cursor_executemany():
    with cursor("CREATE TABLE t (i)") as found:
        found.executemany(INSERT, NUMBERS)  # here


def sqlite_cursor_executescript():
    with cursor() as found:
        found.executescript(SLOW_SCRIPT)  # here


def sqlite_cursor_fetchone():
    with cursor(LAST_IS_SLOW) as found:
        while found.fetchone():  # here
            pass


def sqlite_cursor_fetchmany():
    with cursor(LAST_IS_SLOW) as found:
        found.fetchmany(3)  # here


def sqlite_cursor_fetchall():
    with cursor(LAST_IS_SLOW) as found:
        found.fetchall()  # here


def sqlite_connection_execute():
    with database() as connection:
        connection.execute(SLOW)  # here


def sqlite_connection_executemany():
    with database() as connection:
        connection.execute("CREATE TABLE t (i)")
        connection.executemany(INSERT, NUMBERS)  # here


def sqlite_connection_executescript():
    with database() as connection:
        connection.executescript(SLOW_SCRIPT)  # here


def sqlite_connection_commit():
    with (
        tempfile.TemporaryDirectory() as folder,
        database(f"{folder}/file") as connection,
        database(f"{folder}/file") as other,
    ):
        connection.executescript("CREATE TABLE t (i); INSERT INTO t VALUES (1), (2), (3);")
        reading = other.execute("SELECT i FROM t")
        reading.fetchone()
        connection.execute("INSERT INTO t VALUES (4)")
        after(BLOCK_S, reading.close)
        connection.commit()  # here


# -- the rest -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def taken_lock():
    lock = threading.Lock()
    lock.acquire()
    after(BLOCK_S, lock.release)
    yield lock


def lock_acquire():
    with taken_lock() as lock:
        lock.acquire()  # here


def lock_acquire_lock():
    with taken_lock() as lock:
        lock.acquire_lock()  # here


def builtins_input():
    with pipe() as (reading, writing), open(reading, closefd=False) as file:
        before, sys.stdin = sys.stdin, file
        after(BLOCK_S, lambda: os.write(writing, b"x\n"))
        try:
            input()  # here
        finally:
            sys.stdin = before


def subprocess_run():
    subprocess.run([sys.executable, "-c", f"import time; time.sleep({BLOCK_S})"], check=True)  # here


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
        requests.get(f"http://127.0.0.1:{server.server_port}/", timeout=10)  # here


# -- what it cannot see -------------------------------------------------------------------------------------


def computing_python():
    until = time.thread_time() + BLOCK_S
    while time.thread_time() < until:  # here
        pass  # here


def computing_sum():
    sum(range(4_000_000))  # here


def computing_json():
    json.loads("[" + "1," * 2_000_000 + "1]")  # here


def computing_hash():
    hashlib.sha256(bytes(80_000_000)).digest()  # here


def computing_sort():
    sorted(range(2_000_000), key=lambda n: -n)  # here


CALLS = {
    time_sleep: "time.sleep",
    os_read: "os.read",
    os_write: "os.write",
    os_sendfile: "os.sendfile",
    io_buffered_reader_read: "BufferedReader.read",
    io_buffered_writer_write: "BufferedWriter.write",
    io_buffered_random_read: "BufferedRandom.read",
    io_buffered_random_write: "BufferedRandom.write",
    io_text_wrapper_read: "TextIOWrapper.read",
    io_text_wrapper_write: "TextIOWrapper.write",
    socket_connect: "socket.connect",
    socket_accept: "socket.accept",
    socket_send: "socket.send",
    socket_sendall: "socket.sendall",
    socket_sendto: "socket.sendto",
    socket_recv: "socket.recv",
    socket_recv_into: "socket.recv_into",
    socket_recvfrom: "socket.recvfrom",
    socket_recvfrom_into: "socket.recvfrom_into",
    socket_recvmsg: "socket.recvmsg",
    select_select: "select.select",
    ssl_read: "SSLSocket.read",
    ssl_recv: "SSLSocket.recv",
    ssl_write: "SSLSocket.write",
    ssl_send: "SSLSocket.send",
    sqlite_cursor_execute: "Cursor.execute",
    sqlite_cursor_executemany: "Cursor.executemany",
    sqlite_cursor_executescript: "Cursor.executescript",
    sqlite_cursor_fetchone: "Cursor.fetchone",
    sqlite_cursor_fetchmany: "Cursor.fetchmany",
    sqlite_cursor_fetchall: "Cursor.fetchall",
    sqlite_connection_execute: "Connection.execute",
    sqlite_connection_executemany: "Connection.executemany",
    sqlite_connection_executescript: "Connection.executescript",
    sqlite_connection_commit: "Connection.commit",
    lock_acquire: "threading.Lock.acquire",
    lock_acquire_lock: "threading.Lock.acquire_lock",
    builtins_input: "input",
    subprocess_run: "subprocess.run",
    requests_get: "requests.get",
}
"""The functions that wait, and how the name of the call ends."""

COMPUTING = [computing_python, computing_sum, computing_json, computing_hash, computing_sort]


def lines_to_name(function):
    lines, first = inspect.getsourcelines(function)
    return {first + number for number, line in enumerate(lines) if line.endswith("# here\n")}


@pytest.mark.parametrize("function", [*CALLS, *COMPUTING], ids=lambda function: function.__name__)
def test_call_that_blocks_is_caught_at_its_line(run, function):
    async def main():
        function()

    # One that began in the middle of the only look, at the end of a call that keeps the GIL, would outlast
    # the block: it goes through all that the call has made.
    gc.collect()
    with pytest.raises(EventLoopBlocked) as raised, detect_blocking(own_lines="fail"):
        run(main())

    block = max(raised.value.blocks, key=lambda block: block.duration_s)
    assert block.culprit.file == __file__
    assert block.culprit.line in lines_to_name(function)
    if function in CALLS:
        assert f".{block.call}".endswith(f".{CALLS[function]}")
