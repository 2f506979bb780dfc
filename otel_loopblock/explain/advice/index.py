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

    Patterns with wildcards are grouped by their first segment, because a table of a hundred of them would
    otherwise be tried one by one for every name that is not in it.

    Args:
        entries: where two have the same pattern, the later one counts.
        never: patterns of names that match nothing here, but an entry whose own pattern is such a name.
    """

    __slots__ = ("_anywhere", "_by_root", "_exact", "_never", "entries")

    def __init__(self, entries: Iterable[KnownCall], never: Iterable[str] = ()) -> None:
        unique = {entry.pattern: entry for entry in entries}
        self.entries = tuple(unique.values())
        self._never = re.compile("|".join(map(translate, never)) or r"(?!)")
        self._exact = {p: e for p, e in unique.items() if not _WILDCARD.search(p)}
        wild = [e for p, e in unique.items() if p not in self._exact]
        groups: dict[str, list[KnownCall]] = {}
        for entry in wild:
            groups.setdefault(_root(entry.pattern), []).append(entry)
        anywhere = groups.pop("", [])
        self._by_root = {
            root: sorted([*group, *anywhere], key=_most_specific_first) for root, group in groups.items()
        }
        self._anywhere = sorted(anywhere, key=_most_specific_first)

    def find(self, names: tuple[str, ...]) -> KnownCall | None:
        """The entry that fits best.

        Args:
            names: spellings of one call, the preferred one first.
        """
        for name in names:
            if name in self._exact:
                return self._exact[name]
        never = any(self._never.match(name) for name in names)
        for name in names:
            for entry in self._by_root.get(name.partition(".")[0], self._anywhere):
                if _compiled(entry.pattern).match(name) and not (
                    never and not self._never.match(entry.pattern)
                ):
                    return entry
        return None


@lru_cache(maxsize=2048)
def _compiled(pattern: str) -> re.Pattern[str]:
    # On demand: compiling the whole table takes 20 ms of every start, a group of it less than one.
    return re.compile(translate(pattern))


def _most_specific_first(entry: KnownCall) -> tuple[int, str]:
    return -specificity(entry.pattern), entry.pattern


def _root(pattern: str) -> str:
    """The first segment of a pattern; empty when it may match any."""
    root = pattern.partition(".")[0]
    return "" if _WILDCARD.search(root) else root
