"""Keeps signals away from our threads: one that the application waits for must reach the application."""

from __future__ import annotations

import _thread
import signal
from types import BuiltinFunctionType

_OWN_FAULTS = ("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT")
"""What a thread causes itself, and faulthandler reports."""


def block_signals() -> None:
    """Have the calling thread take no signal; whatever it starts inherits that.

    Nothing on Windows; nothing where starting a thread was replaced, as gevent does: what it starts runs in
    the application's own thread, which must take its signals.
    """
    if hasattr(signal, "pthread_sigmask") and type(_thread.start_new_thread) is BuiltinFunctionType:
        faults = {getattr(signal, name) for name in _OWN_FAULTS}
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
