"""The record of one known call, and the words that say what kind of call it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "driver",
    "network",
    "dns",
    "sleep",
    "process",
    "file",
    "lock",
    "input",
    "logging",
    "startup",
    "compute",
    "serialisation",
    "inference",
    "custom",
]
"""What a call spends its time on; ``startup`` belongs there, not in a handler; ``custom`` is a user's own
sentence, given whatever the call did."""

WAITING: frozenset[Kind] = frozenset(
    {"driver", "network", "dns", "sleep", "process", "file", "lock", "input", "logging"}
)
"""Kinds that wait for something outside: their sentence is for a wait, not for computing."""

ONLY_WAITING: frozenset[Kind] = frozenset({"sleep", "lock"})
"""Kinds that never compute: a late watchdog does not speak against waiting there."""

COMPUTING: frozenset[Kind] = frozenset({"compute", "serialisation", "inference"})
"""Kinds that compute: whether their sentence speaks of a thread or of processes hangs on the GIL."""

ALWAYS: frozenset[Kind] = frozenset({"startup", "custom"})
"""Kinds whose sentence holds whichever way the call blocked."""


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A blocking call, or a family of them, and what to do instead."""

    pattern: str
    """Dotted name as a stack shows it; ``*``, ``?`` and ``[...]`` as in :mod:`fnmatch`, across dots."""
    instead: str
    """One sentence: the concrete replacement."""
    kind: Kind = "custom"
    releases_gil: bool | None = None
    """Whether other threads can run Python while it works; ``None`` where nobody documents it."""
    source: str = ""
    """Address of the page that the entry rests on."""
    checked: str = ""
    """Year and month in which somebody last looked that it is true: ``2026-11``; empty where nobody could."""
    low_level: bool = False
    """Whether libraries stand on it: the sentence is for who calls it from the application's own line."""
