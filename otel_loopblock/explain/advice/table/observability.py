"""Logging, tracing, metrics."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "logging.handlers.SocketHandler.* logging.handlers.SysLogHandler.* logging.handlers.SMTPHandler.* "
        "logging.handlers.HTTPHandler.* logging.handlers.DatagramHandler.*",
        "logging",
        "Log through logging.handlers.QueueHandler, and send from its QueueListener's thread.",
        "https://docs.python.org/3/howto/logging-cookbook.html#dealing-with-handlers-that-block",
    ),
    *known_calls(
        "logging.*",
        "logging",
        "Log through logging.handlers.QueueHandler, and write from its QueueListener's thread.",
        "https://docs.python.org/3/howto/logging-cookbook.html#dealing-with-handlers-that-block",
    ),
    *known_calls(
        "print",
        "logging",
        "Log through logging.handlers.QueueHandler; a slow terminal or pipe blocks print.",
        "https://docs.python.org/3/howto/logging-cookbook.html#dealing-with-handlers-that-block",
    ),
)
