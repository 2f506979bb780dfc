"""What is said of the requests that one block made wait: the same of all that waited equally long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import Link

from otel_loopblock.emit import attributes
from otel_loopblock.emit.context import route_and_name
from otel_loopblock.emit.late import LateAttributes
from otel_loopblock.emit.victims import Culprit

STEPS: Final = 10
"""Distinct values of ``event_loop.delay.max`` per block: spans that waited equally long share an event."""


class Annotations:
    """What the requests that waited for one block have in common: attributes, and the link."""

    __slots__ = ("_alike", "_culprit", "_ended_unix_ns", "_started_s", "_step_s", "link")

    def __init__(self, culprit: Culprit) -> None:
        self._culprit = culprit
        self._started_s = culprit.started_s
        self._ended_unix_ns = culprit.unix_ns(culprit.ended_s)
        self._step_s = (culprit.ended_s - culprit.started_s) / STEPS
        self._alike: list[tuple[LateAttributes, int] | None] = [None] * (STEPS + 1)
        target = culprit.carrier
        linked = target is not None and target.is_valid and target.trace_flags.sampled
        self.link = Link(target, BoundedAttributes()) if target is not None and linked else None
        """To the culprit's span, where that one is exported."""

    def of(self, due: float | None, started_unix_ns: int | None) -> tuple[LateAttributes, int]:
        """What is said of a request, and since when it waited at the earliest, not before its span began.

        ``event_loop.delay.max`` is an upper bound: rounded up, to a tenth of the block.

        Args:
            due: ``perf_counter`` when it came due; ``None`` where that is not known.
            started_unix_ns: when its span began; ``None`` likewise.
        """
        steps = STEPS
        if due is not None and due > self._started_s:
            steps -= int((due - self._started_s) / self._step_s)
        late, began_unix_ns = self._alike[steps] or self._make(steps)
        if started_unix_ns is not None and started_unix_ns > began_unix_ns:
            return late, started_unix_ns
        return late, began_unix_ns

    def _make(self, steps: int) -> tuple[LateAttributes, int]:
        culprit, delay_s = self._culprit, steps * self._step_s

        def describe() -> Mapping[str, attributes.Value]:
            route = route_and_name(culprit.span)[0]
            return attributes.of_delay(culprit.observed.block, culprit.carrier, route, delay_s)

        alike = self._alike[steps] = LateAttributes(describe), self._ended_unix_ns - int(1e9 * delay_s)
        return alike
