"""Makes the record of a block: where it was blocked, why, and what to do about it."""

from __future__ import annotations

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.advice.known import ONLY_WAITING
from otel_loopblock.explain.block import Block, Named, Observed
from otel_loopblock.explain.cause import Judgement, judge
from otel_loopblock.explain.measurements import measure
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import Stacks, find
from otel_loopblock.naming import printable, qualified_name
from otel_loopblock.naming.text import MAX_SENTENCE
from otel_loopblock.watch.demand import demand
from otel_loopblock.watch.evidence import Evidence, Look
from otel_loopblock.watch.monitor import Monitor


class Explainer:
    """Makes records: finds out where a stretch was blocked, why, and what to do.

    Args:
        stacks: reads the samples.
        table: where advice is looked up.
        threshold_s: the threshold that is exceeded.
    """

    def __init__(self, stacks: Stacks, table: AdviceTable, threshold_s: float) -> None:
        self._stacks = stacks
        self._table = table
        self._threshold_s = threshold_s

    def prepare(self, look: Look) -> None:
        """Read a look ahead, on the watchdog's thread: to explain the block takes little time then."""
        call = self._stacks.read(look).call
        if call is not None:
            self._table.lookup(call)

    def explain(
        self,
        observed: Observed,
        monitor: Monitor,
        evidence: Evidence,
        named: Named,
    ) -> Block:
        """Explain a stretch.

        Args:
            observed: the stretch.
            monitor: of the loop that was blocked.
            evidence: what is known of the callback.
            named: culprit and call where no stack was seen.
        """
        began, ended = observed.began, observed.ended
        looks = looks_within(evidence, began, ended)
        place = find(looks, began, self._stacks)
        known = self._table.lookup(place.call) if place.call is not None else None
        judgement = judge(
            measure(
                evidence,
                looks,
                began,
                ended,
                tick_s=demand.tick_s,
                in_call=place.call is not None,
                in_c_call=place.call is not None and place.call_is_c,
                call_waits=known is not None and known.kind in ONLY_WAITING,
                call_holds_gil=None
                if place.call is None
                else known is not None and known.releases_gil is False,
            )
        )
        culprit, call = place.culprit, place.call
        if culprit is None:
            culprit, call = named[0], call or named[1]
            known = self._table.lookup(call) if call is not None else None
        return Block(
            started_s=began,
            duration_s=ended - began,
            started_unix_ns=observed.started_unix_ns,
            threshold_s=self._threshold_s,
            loop_type=monitor.loop_type,
            thread_id=monitor.thread_id,
            thread_name=printable(monitor.thread_name),
            task_name=observed.task_name,
            cause=judgement.cause,
            evidence=judgement.evidence,
            culprit=culprit,
            call=call,
            advice=_advise(self._table, judgement, call, looks, self._stacks.is_own),
            stack=place.stack,
            leaf_call=next((look.call for look in reversed(looks) if look.frames is place.stack), None),
            samples=len(looks),
            ongoing=observed.ongoing,
            call_kind=known.kind if known is not None else None,
        )


def looks_within(evidence: Evidence, began: float, ended: float) -> tuple[Look, ...]:
    """The samples that were taken in a stretch."""
    return tuple(look for look in evidence.looks if began <= look.at <= ended)


def _advise(
    table: AdviceTable,
    judgement: Judgement,
    call: str | None,
    looks: tuple[Look, ...],
    own_code: OwnCode,
) -> str | None:
    contenders: list[str] = []
    if judgement.cause == "gil_contention":
        for look in looks:
            for raw in look.others:
                name = qualified_name(raw[0], raw[3])
                if name not in contenders and own_code(raw[0]):
                    contenders.append(name)
    sentence = table.advise(
        judgement.cause, call, releases_gil=judgement.releases_gil, contenders=contenders[:3]
    )
    return printable(sentence, MAX_SENTENCE) if sentence is not None else None
