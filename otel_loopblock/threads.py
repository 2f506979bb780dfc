"""What holds of every thread of ours: it is a real one, of the main interpreter, and takes no signal.

gevent and eventlet put greenlets in the place of threads. A greenlet of ours that waits would never give the
application its turn. A sub-interpreter that ends while one of its daemon threads lives ends the process. So
there is none in either: nothing is instrumented, and the log says so.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import signal
import threading
from functools import cache
from importlib import import_module
from types import BuiltinFunctionType

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter, sleep

_OWN_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
"""What a thread causes itself, and faulthandler reports."""

_BEGINS_S = 0.05
"""How long it takes at most that a thread which was started begins."""

_logger = logging.getLogger("otel_loopblock")
_warned = False


def may_start() -> bool:
    """Whether threads of ours may be started here; the first time that they may not, the log says why."""
    # Not by what starts them: debuggers replace that, and start threads nevertheless.
    if not (type(_thread.get_ident) is type(threading.get_ident) is BuiltinFunctionType):
        _warn(
            "otel_loopblock does not watch this process: its threads are replaced by greenlets "
            "(monkey-patched by gevent or eventlet). Leave threads unpatched to have its event loops watched."
        )
        return False
    if not _in_main_interpreter():
        _warn(
            "otel_loopblock does not watch this interpreter: it is a sub-interpreter, which may have no "
            "daemon threads. Call instrument() in the main interpreter, and run the event loops there."
        )
        return False
    return True


@cache
def _in_main_interpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # from Python 3.13 on; before
        try:
            interpreters = import_module(name)
            return bool(interpreters.get_current() == interpreters.get_main())
        except (ImportError, AttributeError):
            continue
    return True


def _warn(message: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        _logger.warning(message)


def start(thread: threading.Thread) -> None:
    """Start a thread. A signal handler that raises meanwhile does not keep it from that."""
    try:
        thread.start()
    except Exception as error:
        raised: BaseException | None = error
        # Where the thread has begun, CPython raises a KeyError in its place.
        while raised is not None and not guard.is_asynchronous(raised):
            raised = raised.__context__
        if raised is None:
            raise
        until = perf_counter() + _BEGINS_S
        while thread.ident is None and perf_counter() < until:
            sleep(0.001)
        if thread.ident is None:
            with contextlib.suppress(RuntimeError):  # it has begun just now
                thread.start()
        raise raised from raised.__cause__


def has_died(thread: threading.Thread) -> bool:
    """Whether a thread was started and runs no more. One whose start was interrupted may not even begin."""
    return thread.ident is not None and not thread.is_alive()


def enter() -> None:
    """What a thread of ours does first: it takes no signal, and all that fails in it is ours.

    What it starts inherits that it takes no signals. On Windows there are none.
    """
    guard.here.is_ours = True
    if hasattr(signal, "pthread_sigmask"):
        faults = {getattr(signal, name) for name in _OWN_FAULTS}
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
