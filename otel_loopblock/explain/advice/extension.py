"""What users add to the table: a mapping in an option, or an entry point of another package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import get_args

from otel_loopblock.explain.advice.known import Kind, KnownCall
from otel_loopblock.naming.patterns import check_advice

ENTRY_POINT_GROUP = "otel_loopblock_advice"
"""Each entry point of this group loads to :class:`KnownCall` records, or to a mapping pattern -> sentence."""


def from_option(mapping: Mapping[str, str]) -> tuple[KnownCall, ...]:
    """Entries from a user's ``{"mylib.call": "What to do instead."}``.

    Args:
        mapping: dotted names, wildcards allowed, to the sentence to give.

    Raises:
        ValueError: naming the key or the value that cannot be used, and what is allowed.
    """
    if not isinstance(mapping, Mapping):
        raise ValueError(f"advice must be a mapping of dotted names to sentences, not {mapping!r}")
    return tuple(checked(KnownCall(pattern, sentence)) for pattern, sentence in mapping.items())


def checked(entry: object) -> KnownCall:
    """The entry itself, once it is known to be usable.

    Raises:
        ValueError: naming what is wrong with it.
    """
    if not isinstance(entry, KnownCall):
        raise ValueError(f"advice entry must be a KnownCall, not {entry!r}")
    check_advice(entry.pattern, entry.instead)
    if entry.kind not in get_args(Kind):
        allowed = ", ".join(get_args(Kind))
        raise ValueError(f"advice for {entry.pattern!r}: kind must be one of {allowed}, not {entry.kind!r}")
    return entry


def to_entries(value: object) -> tuple[KnownCall, ...]:
    """Entries from whatever :meth:`AdviceTable.register` or an entry point was given.

    Raises:
        ValueError: naming what is wrong with it.
    """
    if isinstance(value, Mapping):
        return from_option(value)
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ValueError(f"advice must be KnownCall records or a mapping to sentences, not {value!r}")
    return tuple(checked(entry) for entry in value)


def installed() -> tuple[EntryPoint, ...]:
    """The entry points that installed packages offer, by name, so that the order is the same every time."""
    return tuple(sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name))
