"""What to do about a block, in one sentence, from why it blocked and which call it was in.

Pure functions and data: nothing here knows a loop, a span or a thread. A lookup runs on the event loop's
thread once per block, so it is one dictionary access for a name that was asked before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from otel_loopblock.explain.advice import extension
from otel_loopblock.explain.advice.extension import ENTRY_POINT_GROUP, from_option
from otel_loopblock.explain.advice.index import Index
from otel_loopblock.explain.advice.known import ALWAYS, Kind, KnownCall
from otel_loopblock.explain.advice.sentences import (
    awaited_sentence,
    disputed_sentence,
    kept_sentence,
    sentence_for,
)
from otel_loopblock.explain.advice.table import ALREADY_ASYNC, ENTRIES, PUBLIC_NAMES
from otel_loopblock.explain.cause import Cause
from otel_loopblock.naming import printable

__all__ = [
    "ENTRY_POINT_GROUP",
    "AdviceTable",
    "Kind",
    "KnownCall",
    "from_option",
]

_logger = logging.getLogger("otel_loopblock")

_MAX_CACHED = 4096

_OURS = Index(ENTRIES, never=ALREADY_ASYNC)


class AdviceTable:
    """Our own entries, and above them those of a user, which win.

    Entries are replaced as a whole and never changed in place: a lookup on another thread sees the old table
    or the new one.
    """

    def __init__(self) -> None:
        self._users = Index(())
        self._cache: dict[str, KnownCall | None] = {}
        self._loaded = False

    def lookup(self, call: str) -> KnownCall | None:
        """The most specific entry for a call: a user's before ours, exact before wildcard, long before short.

        Args:
            call: dotted name, as a stack shows it or as the call is imported.
        """
        # Taken before the entries are read: an answer from old entries never enters the new cache.
        cache = self._cache
        try:
            return cache[call]
        except KeyError:
            pass
        names = _spellings(call)
        entry = self._users.find(names) or _OURS.find(names)
        if len(cache) >= _MAX_CACHED:
            cache.clear()
        cache[call] = entry
        return entry

    def advise(
        self,
        cause: Cause,
        call: str | None,
        *,
        inner: str | None = None,
        is_awaited: bool = False,
        releases_gil: bool | None = None,
        is_disputed: bool = False,
        contenders: Sequence[str] = (),
    ) -> str | None:
        """One sentence on what to do about a block, or ``None`` where there is none worth giving.

        Args:
            cause: why it blocked.
            call: the library call that it was in; ``None`` when the application's own code computed.
            inner: the known call, or the C call, that this one was in, deeper down.
            is_awaited: whether the application awaits ``call``: then nothing asynchronous is advised.
            releases_gil: what the clocks said of the GIL in this block; wins over what the table says.
            is_disputed: whether other blocks of the same line and call said otherwise of the GIL.
            contenders: functions of the threads that took the GIL, for ``gil_contention``.
        """
        entry = self.lookup(call) if call is not None else None
        if is_awaited:
            below = self.lookup(inner) if inner is not None else None
            return awaited_sentence(cause, call, entry, inner, below, contenders)
        if is_disputed and cause in ("cpu", "gil_held") and (entry is None or entry.kind not in ALWAYS):
            return disputed_sentence(call)
        return sentence_for(cause, call, entry, releases_gil, contenders, inner)

    def advise_waiting(self, cause: Cause, kept_by: str | None, contenders: Sequence[str]) -> str | None:
        """One sentence on what to do where a loop could not run on, though none of its callbacks ran.

        Args:
            cause: why.
            kept_by: the call, or the function, that kept the GIL in another thread; ``None`` where none did
                alone, or it is not known.
            contenders: functions of the threads that may have.
        """
        if cause == "gil_contention" and kept_by is not None:
            return kept_sentence(kept_by)
        return sentence_for(cause, None, None, None, contenders)

    def entries(self) -> tuple[KnownCall, ...]:
        """All entries, a user's first."""
        own = {entry.pattern for entry in self._users.entries}
        return (*self._users.entries, *(entry for entry in _OURS.entries if entry.pattern not in own))

    def register(self, entries: Iterable[KnownCall] | Mapping[str, str]) -> None:
        """Add entries; they win over ours, and over those of the same pattern that were added before.

        Args:
            entries: records, or a mapping of dotted names to sentences.

        Raises:
            ValueError: for an entry that cannot be used; nothing is added then.
        """
        added = extension.to_entries(entries)
        self._users = Index((*self._users.entries, *added))
        self._cache = {}

    def load_entry_points(self) -> None:
        """Add what installed packages offer under ``otel_loopblock_advice``; the second time, do nothing.

        What fails to load is logged, once, and left out: another package's mistake must not take a service
        down. What the user has registered already still wins.
        """
        if self._loaded:
            return
        self._loaded = True
        found: list[KnownCall] = []
        for point in extension.installed():
            try:
                found += extension.to_entries(point.load())
            except Exception as error:
                _logger.warning(
                    "Advice entry point %r (%s) was left out: %s: %s",
                    point.name,
                    point.value,
                    type(error).__name__,
                    printable(str(error)),
                )
        self._users = Index((*found, *self._users.entries))
        self._cache = {}


def _spellings(call: str) -> tuple[str, ...]:
    """A name as given, and as a user would import it: ``requests.get`` for ``requests.api.get``."""
    if call.startswith("import "):  # the module that is imported is said with it
        return call, "import"
    parts = call.split(".")
    for size in range(min(len(parts) - 1, 3), 0, -1):
        public = PUBLIC_NAMES.get(".".join(parts[:size]))
        if public is not None:
            return call, ".".join((public, *parts[size:])).lstrip(".")
    return (call,)
