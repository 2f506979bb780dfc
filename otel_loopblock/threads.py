"""What holds of every thread of ours: it is a real one, of the main interpreter, and takes no signal.

gevent and eventlet put greenlets in the place of threads. A greenlet of ours that waits would never give the
application its turn. A sub-interpreter that ends while one of its daemon threads lives ends the process. So
there is none in either: nothing is instrumented, and the log says so.
"""

from __future__ import annotations

import _thread
import logging
import signal
import threading
from functools import cache
from importlib import import_module
from types import BuiltinFunctionType

_OWN_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
"""What a thread causes itself, and faulthandler reports."""

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


def block_signals() -> None:
    """Have the calling thread take no signal; whatever it starts inherits that. Nothing on Windows."""
    if hasattr(signal, "pthread_sigmask"):
        faults = {getattr(signal, name) for name in _OWN_FAULTS}
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
