"""The thread that does what must not happen on a loop's thread: explaining, rendering, exporting.

One daemon thread of the emitter. It starts with the first work and sleeps while there is none. A slow
exporter holds up nothing but this thread: neither a loop, nor the watchdog, nor for long the end.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, Full, SimpleQueue
from typing import TypeAlias

from otel_loopblock import guard, threads
from otel_loopblock.clocks import sleep

THREAD_NAME = "otel-loopblock-worker"

MAX_DEFERRED = 2_000
"""Work items that wait; what comes beyond that is dropped. Each may keep some 10 kB of samples."""

STOP_S = 1.0
"""How long the end of it, and so that of the process, waits for what is pending."""

REST_S = 0.0005
"""Between two steps of long work. While a thread computes, a loop waits up to a switch interval (5 ms) for
the GIL each time that it wants to go on; a thread that rests has let go of it."""

Work: TypeAlias = Callable[[], object]
"""Long work returns an iterator, so that it can be done in steps."""


class Worker:
    """Does deferred work in the order in which it comes; once stopped, it stays so.

    Work comes from loops' threads in the middle of anything: also from a finalizer or a signal handler that
    interrupts the very same call. So nothing on that way waits for a lock, and the queue is one whose ``put``
    is reentrant.
    """

    def __init__(self) -> None:
        self.dropped = 0
        """Work items that were not done: too many, too late, or without a thread."""
        self._stopped = False
        self._begin()
        _workers.add(self)

    def _begin(self) -> None:
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._unfinished: deque[None] = deque()  # one for each item in the queue or being done
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    @property
    def pending(self) -> int:
        """How many work items wait or are being done."""
        return len(self._unfinished)

    def defer(self, work: Work) -> None:
        """Have ``work`` done on the thread, or drop it where too much waits. Any thread."""
        if self._stopped:
            self.dropped += 1
            return
        if len(self._unfinished) >= MAX_DEFERRED:
            self.dropped += 1
            try:
                raise Full(f"{MAX_DEFERRED} work items wait for the thread {THREAD_NAME}")
            except Full:
                guard.failed("deliver telemetry as fast as it comes")
            return
        self._put(work)

    def drain(self, timeout_s: float = STOP_S) -> bool:
        """Wait until all that was deferred before is done; whether it was in time."""
        if not self._unfinished:
            return True
        if self._stopped or self._thread is threading.current_thread():
            return False
        done = threading.Event()
        self._put(done.set)
        return threads.may_start() and done.wait(timeout_s)

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Do what is pending, for so long at most; count what is left, and end the thread.

        Called from a work item it returns at once, and the rest is done after it.
        """
        self._stopped = True
        _workers.discard(self)
        self._queue.put(None)
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        if thread.ident is not None:  # else its start was interrupted: it cannot be waited for
            thread.join(timeout_s)
        if thread.is_alive():
            self._discard()
            self._queue.put(None)
        else:
            # Kept by a cycle it would die, and run code, in a collection of the application's.
            self._thread = None

    def dismiss(self) -> None:
        """Have the thread end when nothing is pending any more, also where :meth:`stop` has failed to."""
        self._stopped = True
        self._queue.put(None)

    def forget(self) -> None:
        """In a forked child: the thread is not there, and what waits is the parent's to deliver."""
        self.dropped = 0
        self._begin()

    def _put(self, work: Work) -> None:
        self._unfinished.append(None)
        self._queue.put(work)
        if self._thread is None or threads.has_died(self._thread):
            self._start()

    def _start(self) -> None:
        if not threads.may_start():
            self._discard()
            return
        # Whoever has the lock starts the thread; it may be this very thread, interrupted.
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None or threads.has_died(self._thread):
                guard.call("deliver first at exit", _deliver_first_at_exit)
                thread = threading.Thread(
                    target=guard.call,
                    args=("deliver telemetry", self._run, self._queue, self._unfinished),
                    name=THREAD_NAME,
                    daemon=True,
                )
                self._thread = thread
                threads.start(thread)
        except Exception as error:  # no more threads to be had, or the interpreter is shutting down
            guard.let_through(error)  # there is a thread nevertheless
            self._thread = None
            self._discard()
            guard.failed("start a thread for telemetry")
        finally:
            self._starting.release()

    def _discard(self) -> None:
        """Drop all that waits."""
        while True:
            try:
                work = self._queue.get_nowait()
            except Empty:
                return
            if work is not None:
                self._unfinished.pop()
                self.dropped += 1

    def _do(self, work: Work) -> None:
        steps = work()
        if isinstance(steps, Iterator):
            for _ in steps:
                if not self._stopped:
                    sleep(REST_S)

    def _run(self, queue: SimpleQueue[Work | None], unfinished: deque[None]) -> None:
        threads.enter()
        while True:
            work = queue.get()
            if work is None:
                return
            try:
                self._do(work)
            except BaseException:  # SystemExit as well: an exporter must not end this thread
                guard.failed("emit telemetry")
            finally:
                unfinished.pop()
            del work  # it would live on until the next one comes


_workers: set[Worker] = set()
"""Those that have not been stopped."""


def _deliver_first_at_exit() -> None:
    # Handlers run last in, first out, and providers register theirs when they are made: by the first work of
    # ours they are there, whether instrumented before or after.
    # It compares with what others have registered, by their code.
    guard.call("move the delivery at exit", atexit.unregister, _AT_EXIT)
    atexit.register(_AT_EXIT)


def _exiting() -> None:
    for worker in list(_workers):
        worker.stop()


_AT_EXIT = partial(guard.call, "deliver telemetry at exit", _exiting)


def _forked() -> None:
    for worker in list(_workers):
        worker.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(guard.call, "deliver telemetry in a forked child", _forked))
