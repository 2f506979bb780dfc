"""What holds of every thread of ours: it is a real one, and takes no signal.

gevent and eventlet put greenlets in the place of threads. A greenlet of ours that waits would never give the
application its turn. So there is none: nothing is instrumented, and the log says so.
"""

from __future__ import annotations

import _thread
import logging
import signal
import threading
from types import BuiltinFunctionType

_OWN_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
"""What a thread causes itself, and faulthandler reports."""

_logger = logging.getLogger("otel_loopblock")
_warned = False


def are_real() -> bool:
    """Whether a thread that is started here is one; the first time that it is not, the log says so."""
    # Not by what starts them: debuggers replace that, and start threads nevertheless.
    if type(_thread.get_ident) is type(threading.get_ident) is BuiltinFunctionType:
        return True
    global _warned
    if not _warned:
        _warned = True
        _logger.warning(
            "otel_loopblock does not watch this process: its threads are replaced by greenlets "
            "(monkey-patched by gevent or eventlet). Leave threads unpatched to have its event loops watched."
        )
    return False


def block_signals() -> None:
    """Have the calling thread take no signal; whatever it starts inherits that. Nothing on Windows."""
    if hasattr(signal, "pthread_sigmask"):
        faults = {getattr(signal, name) for name in _OWN_FAULTS}
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
