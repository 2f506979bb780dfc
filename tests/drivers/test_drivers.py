"""Real drivers against real servers: the call, the cause and the advice that a user would hope for."""

from __future__ import annotations

import asyncio
import http.server
import os
import socket
import sqlite3
import threading
import time

import psycopg2
import pytest
import redis
import requests

from tests.drivers import servers

BLOCK_S = 0.2
TRIES = 8
"""On a machine that is busy with other things a block may look, and be, descheduled; and whether code that
computes leaves the GIL to others may stay open."""


@pytest.fixture
def block(telemetry, run):
    """Runs what blocks in a handler's span, until it is told why and, if asked for, advised so; gives the
    attributes of the event."""
    telemetry.instrument()

    def attributes_of(function, causes, advice=""):
        async def handler():
            for _ in range(TRIES):
                telemetry.exporter.clear()
                with telemetry.tracer.start_as_current_span("GET /"):
                    await asyncio.sleep(0.02)
                    function()
                found = [event.attributes for _, event in telemetry.events()]
                longest = max(found, key=lambda a: a["event_loop.block.duration"])
                cause, told = longest["event_loop.block.cause"], longest.get("event_loop.block.advice", "")
                if cause in causes and advice in told:
                    break
            queued = longest.get("event_loop.block.run_queue_delay", 0.0)
            if longest["event_loop.block.cause"] == "descheduled" and queued > 0.1:
                pytest.skip("other processes had the CPU in every try")
            return longest

        return run(handler())

    return attributes_of


@pytest.fixture(scope="module")
def postgres_address():
    with servers.postgres() as address:
        yield address


@pytest.fixture
def connection(postgres_address):
    connection = psycopg2.connect(postgres_address)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def redis_port():
    with servers.redis() as port:
        yield port


def test_psycopg2_query(block, connection):
    def query():
        with connection.cursor() as cursor:
            cursor.execute(f"select pg_sleep({BLOCK_S})")

    told = block(query, {"wait"})

    assert told["event_loop.block.cause"] == "wait"
    assert told["event_loop.block.call"] == "psycopg2.extensions.cursor.execute"
    assert told["code.function.name"].endswith("query")
    assert "asyncpg" in told["event_loop.block.advice"]


def test_psycopg2_connect_to_a_server_that_does_not_answer(block):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def accept():
            for _ in range(TRIES):
                try:
                    accepted, _ = listener.accept()
                except OSError:
                    return
                time.sleep(BLOCK_S)
                accepted.close()

        threading.Thread(target=accept, daemon=True).start()

        def connect():
            with pytest.raises(psycopg2.OperationalError):
                psycopg2.connect(f"host=127.0.0.1 port={port} sslmode=disable gssencmode=disable")

        told = block(connect, {"wait"})
        listener.shutdown(socket.SHUT_RDWR)

    assert told["event_loop.block.cause"] == "wait"
    assert told["event_loop.block.call"] == "psycopg2.connect"
    assert "asyncpg" in told["event_loop.block.advice"]


def test_redis_that_waits_for_a_key(block, redis_port):
    client = redis.Redis(port=redis_port)
    client.ping()

    def pop():
        client.blpop(["nothing"], timeout=BLOCK_S)

    told = block(pop, {"wait"})
    client.close()

    assert told["event_loop.block.cause"] == "wait"
    assert told["event_loop.block.call"] == "redis.Redis.blpop"
    assert told["code.function.name"].endswith("pop")
    assert "redis.asyncio" in told["event_loop.block.advice"]


def test_redis_that_is_busy_with_a_script(block, redis_port):
    client = redis.Redis(port=redis_port)
    script = "local n = 0; for i = 1, 20000000 do n = n + i end; return n"
    client.ping()

    def evaluate():
        client.eval(script, 0)

    told = block(evaluate, {"wait"})
    client.close()

    assert told["event_loop.block.cause"] == "wait"
    assert told["event_loop.block.call"] == "redis.Redis.eval"
    assert "redis.asyncio" in told["event_loop.block.advice"]


def test_requests_to_a_slow_server(block):
    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(BLOCK_S)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"

    def fetch():
        requests.get(url, timeout=10)

    told = block(fetch, {"wait"})
    server.shutdown()
    server.server_close()

    assert told["event_loop.block.cause"] == "wait"
    assert told["event_loop.block.call"] == "requests.get"
    assert told["code.function.name"].endswith("fetch")
    assert "AsyncClient" in told["event_loop.block.advice"]


def test_sqlite3_that_computes(block):
    connection = sqlite3.connect(":memory:")

    def query():
        connection.execute(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000) "
            "select sum(i) from n"
        ).fetchall()

    told = block(query, {"cpu"}, advice="thread")
    connection.close()

    assert told["event_loop.block.cause"] == "cpu"
    assert told["event_loop.block.call"] in ("sqlite3.Connection.execute", "sqlite3.Cursor.fetchall")
    assert "thread" in told["event_loop.block.advice"]
    assert "would not help" not in told["event_loop.block.advice"]


def test_sqlite3_that_waits_for_a_lock(block, tmp_path):
    first, second = (sqlite3.connect(tmp_path / "database", timeout=BLOCK_S) for _ in range(2))
    first.execute("begin exclusive")

    def write():
        with pytest.raises(sqlite3.OperationalError):
            second.execute("begin exclusive")

    told = block(write, {"wait"})
    first.close()
    second.close()

    assert told["event_loop.block.cause"] == "wait"
    assert told["event_loop.block.call"] == "sqlite3.Connection.execute"
    assert "aiosqlite" in told["event_loop.block.advice"]


def test_sklearn_predict(block):
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("scikit-learn is not installed")
    import numpy

    random = numpy.random.default_rng(1)
    features = random.random((400, 8))
    model = RandomForestClassifier(200, random_state=1, n_jobs=1)
    model.fit(features, features[:, 0] > 0.5)
    rows = random.random((20_000, 8))
    model.predict(rows[:10])

    def handler_predicts():
        model.predict(rows)

    told = block(handler_predicts, {"cpu", "gil_held"})

    assert told["event_loop.block.cause"] in ("cpu", "gil_held")
    assert told["event_loop.block.call"].startswith("sklearn.")
    assert told["event_loop.block.call"].endswith(".predict")
    assert told["code.function.name"].endswith("handler_predicts")
    if told["event_loop.block.cause"] == "cpu":
        assert "in a thread" in told["event_loop.block.advice"]
    else:
        assert "a thread would not help" in told["event_loop.block.advice"]
