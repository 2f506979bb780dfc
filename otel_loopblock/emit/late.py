"""Attributes that are worked out when they are read: by an exporter, on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from otel_loopblock import guard
from otel_loopblock.emit.attributes import Value


class LateAttributes:
    """Attributes that are worked out when they are read first, for all the events that share them.

    Args:
        work: makes them; called on any thread, and more than once if two read at the same moment.
    """

    __slots__ = ("_value", "_work", "cached", "event")

    def __init__(self, work: Callable[[], Mapping[str, Value]]) -> None:
        self._work: Callable[[], Mapping[str, Value]] | None = work
        self._value: Mapping[str, Value] = {}
        self.cached: Any = None
        self.event: Any = None
        """For what :mod:`otel_loopblock.emit.sdk_event` makes of them: spans may share an event."""

    def read(self) -> Mapping[str, Value]:
        """The attributes; none where working them out fails. Never raises."""
        work = self._work
        if work is not None:
            try:
                self._value = work()
            except Exception:
                guard.failed("describe a block")
            self._work = None
        return self._value
