"""Keeps signals away from our threads: one that the application waits for must reach the application."""

from __future__ import annotations

import signal

_OWN_FAULTS = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"}
"""What a thread causes itself, and faulthandler reports."""


def block_signals() -> None:
    """Have the calling thread take no signal; whatever it starts inherits that. Nothing on Windows."""
    if hasattr(signal, "pthread_sigmask"):
        faults = {getattr(signal, name) for name in _OWN_FAULTS}
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
