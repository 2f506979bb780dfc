"""Real blocks of about a wanted length, and what should be said of each: the table of the trials.

Each culprit is prepared off the clock, calibrated on this machine, and then blocks when it is called.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy

Block = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Culprit:
    """One way to block a loop."""

    name: str
    cause: str
    """The right value of ``event_loop.block.cause``."""
    calls: frozenset[str]
    """Right values of ``event_loop.block.call``; empty where there is none to name."""
    function: str
    """The right ``code.function.name``, without the module."""
    prepare: Callable[[float], AbstractContextManager[Block]] = field(repr=False)
    """``prepare(seconds)`` gives what blocks for about that long."""


# -- calibration ----------------------------------------------------------------------------------

_sizes: dict[str, tuple[int, float]] = {}


def sized(
    name: str, seconds: float, block_of: Callable[[int], Block], start: int, exponent: int = 1
) -> Block:
    """A block of about ``seconds``: its time grows as size to the ``exponent``.

    Args:
        name: under which the calibration is kept.
        seconds: how long it shall take.
        block_of: makes a block of a given size; what it does is not timed.
        start: a size that takes well under a second.
        exponent: how time grows with size.
    """
    if name not in _sizes:
        size, took = start, 0.0
        while took < 0.03:
            block = block_of(size)
            took = min(_timed(block, time.thread_time) for _ in range(3))
            if took < 0.03:
                size = int(size * min(4.0, max(1.5, (0.05 / max(took, 1e-6)) ** (1 / exponent))))
        _sizes[name] = (size, took)
    size, took = _sizes[name]
    return block_of(max(1, round(size * (seconds / took) ** (1 / exponent))))


def _timed(block: Block, clock: Callable[[], float]) -> float:
    began = clock()
    block()
    return clock() - began


# -- waiting --------------------------------------------------------------------------------------


@contextmanager
def sleeping(seconds: float) -> Iterator[Block]:
    def block() -> None:
        time.sleep(seconds)

    yield block


@contextmanager
def receiving(seconds: float) -> Iterator[Block]:
    ours, theirs = socket.socketpair()
    asked = threading.Event()

    def answer() -> None:
        asked.wait()
        time.sleep(seconds)
        theirs.send(b"x")

    thread = threading.Thread(target=answer)
    thread.start()

    def block() -> None:
        asked.set()
        ours.recv(10)

    yield block
    asked.set()
    thread.join()
    ours.close()
    theirs.close()


@contextmanager
def locked(seconds: float) -> Iterator[Block]:
    lock = threading.Lock()
    held, asked = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            asked.wait()
            time.sleep(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def block() -> None:
        asked.set()
        with lock:
            pass

    yield block
    asked.set()
    thread.join()


_spawning_s: list[float] = []


@contextmanager
def running_a_process(seconds: float) -> Iterator[Block]:
    if not _spawning_s:
        _spawning_s.append(
            min(_timed(lambda: subprocess.run(["sleep", "0"]), perf_counter) for _ in range(3))
        )
    arguments = ["sleep", f"{max(0.001, seconds - _spawning_s[0]):.4f}"]

    def block() -> None:
        subprocess.run(arguments, check=True)

    yield block


# -- computing ------------------------------------------------------------------------------------


@contextmanager
def looping(seconds: float) -> Iterator[Block]:
    def of(size: int) -> Block:
        def block() -> None:
            total = 0
            for number in range(size):
                total += number

        return block

    yield sized("loop", seconds, of, 100_000)


@contextmanager
def summing(seconds: float) -> Iterator[Block]:
    def of(size: int) -> Block:
        def block() -> None:
            sum(range(size))

        return block

    yield sized("sum", seconds, of, 100_000)


@contextmanager
def parsing(seconds: float) -> Iterator[Block]:
    row = json.dumps(
        [{"id": number, "name": f"name {number}", "value": number * 1.5} for number in range(50)]
    )

    def of(size: int) -> Block:
        text = "[" + ",".join([row] * size) + "]"

        def block() -> None:
            json.loads(text)

        return block

    with _collector_off():
        yield sized("json", seconds, of, 20)


@contextmanager
def sorting(seconds: float) -> Iterator[Block]:
    def of(size: int) -> Block:
        numbers = random.Random(1).choices(range(10**9), k=size)

        def block() -> None:
            sorted(numbers)

        return block

    yield sized("sort", seconds, of, 10_000)


@contextmanager
def backtracking(seconds: float) -> Iterator[Block]:
    pattern = re.compile(r"(a+)+b")

    def of(size: int) -> Block:
        text = ("a" * 10 + "c") * size

        def block() -> None:
            pattern.search(text)

        return block

    yield sized("re", seconds, of, 50)


@contextmanager
def hashing(seconds: float) -> Iterator[Block]:
    def of(size: int) -> Block:
        data = bytes(size)

        def block() -> None:
            hashlib.sha256(data)

        return block

    yield sized("hash", seconds, of, 1_000_000)


@contextmanager
def compressing(seconds: float) -> Iterator[Block]:
    text = b"".join(b"%d: some text\n" % number for number in range(2000))

    def of(size: int) -> Block:
        data = text * (size // len(text) + 1)
        data = data[:size]

        def block() -> None:
            zlib.compress(data, level=6)

        return block

    yield sized("zlib", seconds, of, 200_000)


@contextmanager
def multiplying(seconds: float) -> Iterator[Block]:
    def of(size: int) -> Block:
        left = numpy.random.default_rng(1).random((size, size))

        def block() -> None:
            left @ left

        return block

    yield sized("matmul", seconds, of, 200, exponent=3)


# -- neither ---------------------------------------------------------------------------------------


@contextmanager
def contended(seconds: float) -> Iterator[Block]:
    stop = False

    def spin() -> None:
        while not stop:
            pass

    threads = [threading.Thread(target=spin, daemon=True) for _ in range(2)]

    def block() -> None:
        work()

    def of(size: int) -> Block:
        def innocent() -> None:
            total = 0
            for number in range(size):
                total += number

        return innocent

    # A third of the work: the GIL is shared by three.
    work = sized("loop", seconds / 3, of, 100_000)
    for thread in threads:
        thread.start()
    yield block
    stop = True
    for thread in threads:
        thread.join()


@contextmanager
def collecting(seconds: float) -> Iterator[Block]:
    def of(size: int) -> Block:
        heap = _heap(size)

        def block() -> None:
            gc.collect()
            assert heap

        return block

    yield sized("gc", seconds, of, 50_000)


def _heap(size: int) -> list[Any]:
    with _collector_off():
        return [[] for _ in range(size)]


@contextmanager
def _collector_off() -> Iterator[None]:
    """So that what is to be measured is not mixed with collections that it happens to set off."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


_CONTINUER = """\
import os, select, signal, sys, time
print(flush=True)
for line in sys.stdin:
    if line == "continued\\n":
        continue
    time.sleep(float(line))
    for _ in range(100):  # in case the first came before the process had stopped itself
        os.kill(int(sys.argv[1]), signal.SIGCONT)
        if select.select([sys.stdin], [], [], 0.02)[0]:
            break
"""


@contextmanager
def stopped(seconds: float) -> Iterator[Block]:
    continuer = subprocess.Popen(
        [sys.executable, "-S", "-c", _CONTINUER, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stdin, stdout = continuer.stdin, continuer.stdout
    assert stdin is not None
    assert stdout is not None
    stdout.readline()

    def block() -> None:
        stdin.write(f"{seconds}\n")
        stdin.flush()
        os.kill(os.getpid(), signal.SIGSTOP)

    yield block
    stdin.write("continued\n")
    stdin.close()
    continuer.wait()
    stdout.close()


def _culprit(
    name: str, cause: str, calls: str, prepare: Callable[..., Any], function: str = "block"
) -> Culprit:
    return Culprit(name, cause, frozenset(calls.split()), f"{prepare.__name__}.<locals>.{function}", prepare)


CULPRITS = (
    _culprit("time.sleep", "wait", "time.sleep", sleeping),
    _culprit("socket read", "wait", "socket.socket.recv", receiving),
    _culprit("lock", "wait", "threading.Lock.acquire", locked),
    _culprit("subprocess.run", "wait", "subprocess.run", running_a_process),
    _culprit("Python loop", "cpu", "", looping, "of.<locals>.block"),
    _culprit("sum(range())", "gil_held", "sum", summing, "of.<locals>.block"),
    _culprit("json.loads", "gil_held", "json.loads", parsing, "of.<locals>.block"),
    _culprit("sorted", "gil_held", "sorted", sorting, "of.<locals>.block"),
    _culprit("regular expression", "gil_held", "re.Pattern.search", backtracking, "of.<locals>.block"),
    _culprit("hashlib", "cpu", "hashlib.sha256", hashing, "of.<locals>.block"),
    _culprit("zlib", "cpu", "zlib.compress", compressing, "of.<locals>.block"),
    _culprit("numpy product", "cpu", "numpy.ndarray.__matmul__", multiplying, "of.<locals>.block"),
    _culprit("spinning threads", "gil_contention", "", contended, "of.<locals>.innocent"),
    _culprit("gc.collect", "gc", "gc.collect", collecting, "of.<locals>.block"),
    _culprit("SIGSTOP", "descheduled", "", stopped),
)
"""The fifteen kinds of the trials."""
