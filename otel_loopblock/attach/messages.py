"""What the two sides say to each other: JSON objects, one a line, over a Unix socket.

The command speaks once, its request; when it has shut its side down, or is gone, the process takes everything
out. The process answers ``hello`` or ``error``, then ``block`` after ``block``, and ``bye`` when it has.
"""

from __future__ import annotations

import json
import select
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from otel_loopblock.explain.block import Block
from otel_loopblock.explain.stack import Frame

MAX_BYTES = 1 << 20
"""Of one message: more is no message of ours."""

SILENCE_S = 5.0
"""Who takes nothing for so long counts as gone."""

Message = Mapping[str, Any]


class Broken(Exception):
    """The other side is gone, or says what cannot be understood."""


class Line:
    """One end of the connection.

    Args:
        connection: a connected socket, which is closed with this.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        # By the kernel: a time-out of Python's would count for whoever receives meanwhile as well.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(SILENCE_S), 0))
        self.connection = connection
        self._left = b""

    def send(self, message: Message) -> None:
        """Send a message.

        Raises:
            Broken: the other side is gone, or takes nothing.
        """
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise Broken(f"nothing can be sent: {error}") from error

    def receive(self, timeout_s: float | None = None) -> Iterator[Message]:
        """Wait for more, and give what is complete by then: often nothing.

        Args:
            timeout_s: how long to wait at most, in seconds; ``None``: as long as it takes.

        Raises:
            EOFError: the other side has nothing more to say.
            Broken: it is gone, or says what cannot be understood.
        """
        try:
            if timeout_s is not None and not _readable(self.connection, timeout_s):
                return
            piece = self.connection.recv(65536)
        except OSError as error:
            raise Broken(f"nothing can be received: {error}") from error
        if not piece:
            raise EOFError
        *complete, self._left = (self._left + piece).split(b"\n")
        if len(self._left) > MAX_BYTES:
            raise Broken("a message is too long")
        for text in complete:
            try:
                message = json.loads(text)
            except ValueError as error:
                raise Broken(f"no JSON: {error}") from error
            if not isinstance(message, dict):
                raise Broken(f"no JSON object: {text[:100]!r}")
            yield message

    def close(self) -> None:
        """Close it."""
        self.connection.close()


def _readable(connection: socket.socket, timeout_s: float) -> bool:
    poll = select.poll()  # takes any number of a descriptor, which select does not
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


def of_block(block: Block, waited: Sequence[tuple[str, int]]) -> Message:
    """A block as a message.

    Args:
        block: its record.
        waited: names of who had to wait for it, each with how many of them there were.
    """
    culprit = block.culprit
    return {
        "started_unix_ns": block.started_unix_ns,
        "duration_s": block.duration_s,
        "threshold_s": block.threshold_s,
        "loop_type": block.loop_type,
        "thread_id": block.thread_id,
        "thread_name": block.thread_name,
        "task_name": block.task_name,
        "cause": block.cause,
        "culprit": [culprit.function, culprit.file, culprit.line] if culprit is not None else None,
        "call": block.call,
        "advice": block.advice,
        "samples": block.samples,
        "ongoing": block.ongoing,
        "phase": block.phase,
        "awaited_by": list(block.awaited_by),
        "waited": [list(each) for each in waited],
    }


def to_block(message: Message) -> tuple[Block, list[tuple[str, int]]]:
    """The block of a message, without its stack, and who had to wait.

    Raises:
        Broken: it is none.
    """
    try:
        told = dict(message)
        waited = [(str(name), int(count)) for name, count in told.pop("waited")]
        culprit = told.pop("culprit")
        block = Block(
            started_s=0.0,
            evidence={},
            culprit=Frame(*culprit) if culprit is not None else None,
            stack=(),
            leaf_call=None,
            awaited_by=tuple(str(each) for each in told.pop("awaited_by")),
            **told,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Broken(f"no block: {error!r}") from error
    return block, waited
