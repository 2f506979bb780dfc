"""The known calls, one module per domain: data only. To add one, add a record; the tests check its form.

A sentence names the concrete replacement. ``releases_gil`` is what the page or CPython's source says, else
``None``. Entries with ``releases_gil=False`` say that a thread would not help; those with ``True``
may send work to one.
"""

from __future__ import annotations

from typing import Final

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table import (
    ai,
    cloud,
    crypto,
    http,
    images,
    locking,
    messaging,
    ml,
    nosql,
    observability,
    parsing,
    protocols,
    science,
    sql,
    stdlib_computing,
    stdlib_files,
    stdlib_network,
    stdlib_processes,
    stdlib_waiting,
    system,
    text,
    web,
)
from otel_loopblock.explain.advice.table.names import ALREADY_ASYNC, PUBLIC_NAMES

__all__ = ["ALREADY_ASYNC", "ENTRIES", "PUBLIC_NAMES"]

ENTRIES: Final[tuple[KnownCall, ...]] = (
    *stdlib_waiting.ENTRIES,
    *stdlib_processes.ENTRIES,
    *stdlib_network.ENTRIES,
    *stdlib_files.ENTRIES,
    *stdlib_computing.ENTRIES,
    *locking.ENTRIES,
    *system.ENTRIES,
    *http.ENTRIES,
    *protocols.ENTRIES,
    *cloud.ENTRIES,
    *ai.ENTRIES,
    *sql.ENTRIES,
    *nosql.ENTRIES,
    *messaging.ENTRIES,
    *observability.ENTRIES,
    *crypto.ENTRIES,
    *web.ENTRIES,
    *parsing.ENTRIES,
    *text.ENTRIES,
    *science.ENTRIES,
    *images.ENTRIES,
    *ml.ENTRIES,
)
"""What we know. Where several fit a name, the most specific counts."""
