"""From a dotted name to the entry that fits it best. Knows nothing of causes or sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from functools import lru_cache

from otel_loopblock.explain.advice.known import KnownCall

_WILDCARD = re.compile(r"\[[^\]]*\]|[*?]")


def specificity(pattern: str) -> int:
    """How much of a pattern is spelled out: its characters without the wildcards."""
    return len(_WILDCARD.sub("", pattern))


class Index:
    """An immutable set of entries, searched by name: an exact pattern first, then the longest wildcard.

    Patterns with wildcards are grouped by their first segment, because a table of hundreds of them would
    otherwise be tried one by one for every name that is not in it. A group is sorted when it is first asked:
    every process that imports the table would pay for all of them.

    Args:
        entries: where two have the same pattern, the later one counts.
        never: patterns of names that match nothing here, but an entry whose own pattern is such a name.
    """

    __slots__ = ("_anywhere", "_by_root", "_exact", "_never", "_sorted", "entries")

    def __init__(self, entries: Iterable[KnownCall], never: Iterable[str] = ()) -> None:
        unique = {entry.pattern: entry for entry in entries}
        self.entries = tuple(unique.values())
        self._never = tuple(never)
        self._exact: dict[str, KnownCall] = {}
        self._by_root: dict[str, list[KnownCall]] = {}
        self._sorted: dict[str, list[KnownCall]] = {}
        for pattern, entry in unique.items():
            if "*" in pattern or "?" in pattern or "[" in pattern:
                self._by_root.setdefault(_root(pattern), []).append(entry)
            else:
                self._exact[pattern] = entry
        self._anywhere = self._by_root.pop("", [])

    def find(self, names: tuple[str, ...]) -> KnownCall | None:
        """The entry that fits best.

        Args:
            names: spellings of one call, the preferred one first.
        """
        for name in names:
            if name in self._exact:
                return self._exact[name]
        never = any(self._is_never(name) for name in names)
        for name in names:
            for entry in self._group(name.partition(".")[0]):
                if _compiled(entry.pattern).match(name) and (not never or self._is_never(entry.pattern)):
                    return entry
        return None

    def _is_never(self, name: str) -> bool:
        return _any_of(self._never).match(name) is not None

    def _group(self, root: str) -> list[KnownCall]:
        """Entries that may fit a name with this first segment, the most specific first."""
        if root not in self._by_root:
            root = ""
        group = self._sorted.get(root)
        if group is None:
            group = sorted([*self._by_root.get(root, ()), *self._anywhere], key=_most_specific_first)
            self._sorted[root] = group
        return group


@lru_cache(maxsize=2048)
def _compiled(pattern: str) -> re.Pattern[str]:
    # On demand: compiling the whole table takes 40 ms of every start, a group of it less than one.
    return re.compile(translate(pattern))


@lru_cache(maxsize=8)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")


def _most_specific_first(entry: KnownCall) -> tuple[int, str]:
    return -specificity(entry.pattern), entry.pattern


def _root(pattern: str) -> str:
    """The first segment of a pattern; empty when it may match any."""
    root = pattern.partition(".")[0]
    return "" if "*" in root or "?" in root or "[" in root else root
