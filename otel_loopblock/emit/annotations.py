"""What is said of the requests that one block made wait: the same of all that waited equally long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from opentelemetry.trace import SpanContext

from otel_loopblock.emit import attributes
from otel_loopblock.emit.context import route_and_name
from otel_loopblock.emit.victims import Culprit

STEPS: Final = 10
"""Distinct values of ``event_loop.delay.max`` per block: requests that waited equally long share a text."""


class Delay(NamedTuple):
    """One request's wait."""

    attributes: Mapping[str, attributes.Value]
    began_unix_ns: int
    """Not before its span began."""
    delay_s: float
    """At most."""


class Annotations:
    """What the requests that waited for one block have in common: attributes, and the span to link to."""

    __slots__ = ("_alike", "_culprit", "_ended_unix_ns", "_route", "_started_s", "_step_s", "link")

    def __init__(self, culprit: Culprit) -> None:
        self._culprit = culprit
        self._started_s = culprit.started_s
        self._ended_unix_ns = culprit.unix_ns(culprit.ended_s)
        self._step_s = (culprit.ended_s - culprit.started_s) / STEPS
        self._route = route_and_name(culprit.span)[0]
        self._alike: dict[tuple[int, bool], Mapping[str, attributes.Value]] = {}
        target = culprit.carrier
        linked = target is not None and target.is_valid and target.trace_flags.sampled
        self.link: SpanContext | None = target if linked else None
        """The culprit's span, where that one is exported."""

    def of(self, due: float | None, started_unix_ns: int | None) -> Delay:
        """What is said of a request.

        ``event_loop.delay.max`` is an upper bound: rounded up, to a tenth of the block.

        Args:
            due: ``perf_counter`` when it came due; ``None`` where that is not known.
            started_unix_ns: when its span began; ``None`` likewise.
        """
        steps = STEPS
        if due is not None and due > self._started_s:
            steps -= int((due - self._started_s) / self._step_s)
        delay_s = steps * self._step_s
        began_unix_ns = self._ended_unix_ns - int(1e9 * delay_s)
        # Its thread is the loop's, which stood still: a span began either before the wait or after it.
        before_start = started_unix_ns is not None and started_unix_ns > began_unix_ns
        alike = self._alike.get((steps, before_start))
        if alike is None:
            alike = self._alike[steps, before_start] = self._describe(delay_s, before_start)
        if before_start and started_unix_ns is not None:
            began_unix_ns = started_unix_ns
        return Delay(alike, began_unix_ns, delay_s)

    def _describe(self, delay_s: float, before_start: bool) -> Mapping[str, attributes.Value]:
        culprit = self._culprit
        described = attributes.of_delay(culprit.observed.gist, culprit.carrier, self._route, delay_s)
        if before_start:
            described[attributes.BEFORE_START] = True
        return described
