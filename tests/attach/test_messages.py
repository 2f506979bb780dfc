"""What the two sides say to each other, whatever comes over the line."""

from __future__ import annotations

import socket

import pytest

from otel_loopblock.attach.messages import MAX_BYTES, Broken, Line, of_block, to_block
from otel_loopblock.explain.block import Block
from otel_loopblock.explain.stack import Frame

BLOCK = Block(
    started_s=0.0,
    duration_s=0.052,
    started_unix_ns=1_700_000_000_000_000_000,
    threshold_s=0.01,
    loop_type="uvloop",
    thread_id=7,
    thread_name="MainThread",
    task_name="Task-3",
    cause="wait",
    evidence={},
    culprit=Frame("shop.charge_card", "/srv/shop.py", 42),
    call="time.sleep",
    advice="Use await asyncio.sleep(...).",
    stack=(),
    leaf_call=None,
    samples=3,
)


@pytest.fixture
def ends():
    ends = [Line(end) for end in socket.socketpair()]
    yield ends
    for end in ends:
        end.close()


def test_block_arrives_as_it_was(ends):
    sender, receiver = ends
    sender.send({"block": of_block(BLOCK, [("GET /stock", 3)])})
    (message,) = receiver.receive(5)
    assert to_block(message["block"]) == (BLOCK, [("GET /stock", 3)])


def test_pieces_of_messages_are_put_together(ends):
    sender, receiver = ends
    sender.connection.sendall(b'{"a": 1}\n{"b"')
    assert list(receiver.receive(5)) == [{"a": 1}]
    sender.connection.sendall(b": 2}\n")
    assert list(receiver.receive(5)) == [{"b": 2}]


def test_silence_is_no_end(ends):
    assert list(ends[1].receive(0.01)) == []
    ends[0].close()
    with pytest.raises(EOFError):
        list(ends[1].receive(5))


@pytest.mark.parametrize("sent", [b"no JSON\n", b"[1]\n", b"\xff\n"])
def test_what_is_no_message_is_refused(ends, sent):
    ends[0].connection.sendall(sent)
    with pytest.raises(Broken):
        list(ends[1].receive(5))


def test_endless_message_is_refused(ends, monkeypatch):
    monkeypatch.setattr("otel_loopblock.attach.messages.MAX_BYTES", 1000)
    ends[0].connection.sendall(b"x" * 1001)
    with pytest.raises(Broken, match="too long"):
        list(ends[1].receive(5))
    assert MAX_BYTES >= 1 << 20


def test_who_takes_nothing_counts_as_gone(monkeypatch):
    monkeypatch.setattr("otel_loopblock.attach.messages.SILENCE_S", 1)
    ours, theirs = socket.socketpair()
    line = Line(ours)
    with pytest.raises(Broken, match="nothing can be sent"):
        for _ in range(10_000):
            line.send({"text": "x" * 10_000})
    theirs.close()
    line.close()


@pytest.mark.parametrize("message", [{}, {"waited": [], "culprit": None}, {"waited": 1, "culprit": None}])
def test_what_is_no_block_is_refused(message):
    with pytest.raises(Broken, match="no block"):
        to_block(message)
