"""A block as a failed test shows it: the culprit's line first. And which blocks fail a test at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from otel_loopblock.emit.words import milliseconds
from otel_loopblock.explain.advice.known import WAITING
from otel_loopblock.explain.block import Block
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stacktrace import render
from otel_loopblock.testing.detection import ASKED_TO_COLLECT, is_excused

STACK_DEPTH = 32
"""Innermost frames shown of a stack."""

MAX_LISTED = 50
"""Blocks written out in one message; further ones are counted."""

Excuse = Callable[[Block], str | None]
"""Tells why a block fails nothing; ``None`` for one that does."""

_own_code = OwnCode()

_THREAD_START = threading.Thread.start.__code__


class EventLoopBlocked(AssertionError):
    """The event loop was blocked for longer than the threshold.

    Its text lists every block, the longest first: the culprit's line, how long, the call, the cause, what to
    do instead, and the stack as it was while the loop was blocked.
    """

    blocks: tuple[Block, ...] = ()
    """The blocks, in the order in which they happened; empty on a copy that has been pickled."""

    @classmethod
    def of(cls, blocks: Sequence[Block], base: str = "", excuse_of: Excuse | None = None) -> EventLoopBlocked:
        """Make the exception for ``blocks``; the arguments are those of :func:`describe`."""
        error = cls(describe(blocks, base, excuse_of))
        error.blocks = tuple(blocks)
        return error

    def __reduce__(self) -> Any:
        """The text alone."""
        # A block holds code objects, which cannot be pickled; a process pool must still get the text out.
        return type(self), self.args


class OwnLineBlocked(UserWarning):
    """A test's own line blocked the event loop: no fault of the application's."""


def excuse(block: Block) -> str | None:
    """Why a block is none of the tested code's doing.

    The garbage collector's time, and that in which the process did not get the CPU, can excuse it
    (:func:`~otel_loopblock.testing.detection.is_excused`); so does waiting for a new thread to be
    scheduled, as the first work for a thread pool does. A call of ``gc.collect`` counts. Where no stack was
    seen, and the loop was to call nothing of the application's either, no line of it is known to be guilty.
    Nor does time count of which it cannot be told why it went by: on a busy machine somebody who has the GIL
    may have no CPU.

    Returns:
        The cause, ``gc``, ``descheduled`` or ``unknown``, or ``unseen``; ``None`` for a block that counts.
    """
    file = block.culprit.file if block.culprit is not None else ""
    if file and not block.stack and not _own_code.owns(file):
        return "unseen"
    starts_thread = any(raw[0] is _THREAD_START for raw in block.stack)
    if block.cause == "wait" and starts_thread:
        return "descheduled"
    descheduled = _share(block, "descheduled")
    if block.call_kind in WAITING:
        # Who sleeps on a busy machine also wakes up late; it slept all the same. What the kernel has counted
        # is no sleep.
        descheduled = min(block.evidence.get("event_loop.block.run_queue_delay", 0.0), block.duration_s)
    if starts_thread:
        descheduled += _share(block, "wait")
    unknown = _share(block, "unknown") if "event_loop.block.cpu_time" in block.evidence else 0.0
    collecting = 0.0
    if block.call not in ASKED_TO_COLLECT:
        collecting = min(block.evidence.get("event_loop.block.gc_time", 0.0), block.duration_s)
    foreign = {"gc": collecting, "descheduled": descheduled, "unknown": unknown}
    if not is_excused(min(sum(foreign.values()), block.duration_s), block.duration_s, block.threshold_s):
        return None
    return max(foreign, key=lambda cause: foreign[cause])


def _share(block: Block, cause: str) -> float:
    """Seconds of a block that went by for a cause; all that it did not compute where that is the only one."""
    share = block.evidence.get(f"event_loop.block.share.{cause}")
    if share is not None:
        return share * block.duration_s
    if block.cause != cause:
        return 0.0
    return max(0.0, block.duration_s - block.evidence.get("event_loop.block.cpu_time", 0.0))


EventLoopBlocked.__module__ = OwnLineBlocked.__module__ = "otel_loopblock.testing"  # as they are imported


def headline(block: Block, base: str = "") -> str:
    """One line: ``app.py:42: load blocked the event loop for 52 ms in time.sleep (wait). Use …``."""
    culprit = block.culprit
    if culprit is None:
        text = "the event loop was blocked"
    elif culprit.file:
        function = culprit.function.rpartition(".")[2]
        text = f"{relative(culprit.file, base)}:{culprit.line}: {function} blocked the event loop"
    else:
        text = f"{culprit.function} blocked the event loop"
    text += f" for {milliseconds(block.duration_s)}"
    if block.call and (culprit is None or block.call != culprit.function):
        text += f" in {block.call}"
    if block.cause != "unknown":
        text += f" ({block.cause})"
    return f"{text}. {block.advice}" if block.advice else text


def describe(blocks: Sequence[Block], base: str = "", excuse_of: Excuse | None = None) -> str:
    """Every block, the longest first, with its stack; those that do not count come last and say so.

    Args:
        blocks: to be described.
        base: files are named relative to it, the current directory by default.
        excuse_of: tells which do not count; :func:`excuse` by default.
    """
    excuse_of = excuse_of or excuse
    ordered = sorted(blocks, key=lambda block: (excuse_of(block) is not None, -block.duration_s))
    lines: list[str] = []
    for block in ordered[:MAX_LISTED]:
        excused = excuse_of(block)
        lines.append(headline(block, base) + (f" [{excused}: not counted]" if excused else ""))
        stack = render(block.stack, STACK_DEPTH, block.leaf_call).rstrip("\n")
        lines.append(stack or "  (it was over before its stack could be sampled)")
    if len(ordered) > MAX_LISTED:
        lines.append(f"and {len(ordered) - MAX_LISTED} more")
    return "\n".join(lines)


def relative(file: str, base: str = "") -> str:
    """A path relative to ``base``, the current directory by default, where the file is below it."""
    try:
        path = os.path.relpath(file, base or None)
    except (ValueError, OSError):  # another drive; the directory is gone
        return file
    return file if path.startswith(os.pardir) else path
