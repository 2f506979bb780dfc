"""When data came last, as the kernel tells it: real connections."""

from __future__ import annotations

import random
import socket
import sys
import time
from time import perf_counter

import pytest

from otel_loopblock.delayed import tcp
from otel_loopblock.delayed.tcp import last_data

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when data came")


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    return client, accepted


@on_linux
def test_kernel_tells_within_two_ticks_when_data_came():
    client, accepted = tcp_pair()
    chance = random.Random(1)
    told = []
    with client, accepted:
        time.sleep(0.02)
        last_data(accepted)
        for _ in range(60):
            time.sleep(chance.uniform(0.0, 0.012))
            before = perf_counter()
            client.send(b"x")
            after = perf_counter()
            time.sleep(chance.uniform(0.0, 0.012))
            accepted.recv(1)
            data = last_data(accepted)
            told.append((data.earliest <= after, before <= data.latest, data.latest - data.earliest))

    # A machine that does not run the kernel in time may stamp one wrong.
    assert sum(early and late for early, late, _ in told) >= 57
    assert sorted(span for _, _, span in told)[30] <= 0.021


def test_of_what_is_not_tcp_nothing_is_known():
    ours, theirs = socket.socketpair()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with ours, theirs, datagrams:
        theirs.send(b"x")
        assert last_data(ours) is None
        assert last_data(datagrams) is None
    assert last_data(ours) is None  # closed
    assert last_data(None) is None


@on_linux
def test_kernel_that_never_tells_more_than_zero_is_not_believed(monkeypatch):
    class Connection:
        def __init__(self, age_ms):
            self._age_ms = age_ms

        def getsockopt(self, level, name, size):
            return bytes(size - 4) + self._age_ms.to_bytes(4, sys.byteorder)

    monkeypatch.setattr(tcp, "_kernel", tcp._Kernel())

    assert last_data(Connection(0)) is None
    now = perf_counter()
    data = last_data(Connection(100))
    assert data.earliest < now - 0.1 < data.latest
    assert last_data(Connection(0)) is not None
