"""The client: what its latencies mean, against a real server."""

from __future__ import annotations

import asyncio
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from otel_loopblock.bench.client import Job, carry_out


class OneAtATime(HTTPServer):
    """Answers one request after the other; while it stands still nobody is answered."""

    stand_still_s = 0.0
    status = 200
    bodies: list[bytes]


class Handler(BaseHTTPRequestHandler):
    server: OneAtATime

    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.bodies.append(self.rfile.read(length))
        pause, self.server.stand_still_s = self.server.stand_still_s, 0.0
        time.sleep(pause)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = OneAtATime(("127.0.0.1", 0), Handler)
    server.bodies = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(server):
    return f"http://127.0.0.1:{server.server_address[1]}/"


def test_open_loop_counts_the_time_in_which_the_server_did_not_listen(server):
    server.stand_still_s = 0.5
    outcome = asyncio.run(carry_out(Job(url=url(server), seconds=1.0, rate=20)))
    assert len(outcome.latencies_s) == 20
    # A request was due every 50 ms of the standstill; a client that waits for answers would see one late.
    assert sum(latency > 0.1 for latency in outcome.latencies_s) >= 7
    assert max(outcome.latencies_s) >= 0.5


def test_closed_loop_sends_the_next_request_when_the_former_was_answered(server):
    server.stand_still_s = 0.5
    outcome = asyncio.run(carry_out(Job(url=url(server), seconds=0.7, concurrency=1)))
    assert max(outcome.latencies_s) >= 0.5
    assert sum(latency > 0.4 for latency in outcome.latencies_s) == 1
    assert sum(outcome.latencies_s) < 2
    assert 0 < outcome.in_time <= len(outcome.latencies_s)


def test_answers_after_the_end_count_as_latency_but_not_as_throughput(server):
    server.stand_still_s = 0.6
    outcome = asyncio.run(carry_out(Job(url=url(server), seconds=0.2, concurrency=1)))
    assert len(outcome.latencies_s) == 1
    assert outcome.in_time == 0


def test_bad_status_is_an_error_and_no_latency(server):
    server.status = 500
    outcome = asyncio.run(carry_out(Job(url=url(server), seconds=0.2, concurrency=2)))
    assert outcome.latencies_s == []
    assert outcome.errors > 0
    assert outcome.first_error == "status 500"


def test_server_that_is_not_there_is_an_error():
    outcome = asyncio.run(carry_out(Job(url="http://127.0.0.1:1/", seconds=0.1, rate=20)))
    assert (outcome.latencies_s, outcome.errors) == ([], 2)
    assert "ConnectError" in outcome.first_error


def test_body_is_sent(server):
    job = Job(url=url(server), seconds=0.1, rate=10, method="POST", body='{"a": 1}')
    assert asyncio.run(carry_out(job)).errors == 0
    assert server.bodies == [b'{"a": 1}']
