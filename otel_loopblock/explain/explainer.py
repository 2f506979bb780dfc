"""Makes the record of a block: where it was blocked, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.advice.known import COMPUTING, ONLY_WAITING, WAITING, KnownCall
from otel_loopblock.explain.block import Block, Named, Observed
from otel_loopblock.explain.calls import Call
from otel_loopblock.explain.cause import Judgement, judge
from otel_loopblock.explain.measurements import held_looks, measure
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.phase import phase_of
from otel_loopblock.explain.stack import Frame, Place, Stacks, find, own_index
from otel_loopblock.explain.verdicts import Verdicts
from otel_loopblock.naming import printable, qualified_name, spelled_name
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
        self._verdicts = Verdicts()

    def prepare(self, look: Look) -> None:
        """Read a look ahead, on the watchdog's thread: to explain the block takes little time then."""
        call = self._stacks.read(look, held=False).call
        self._known(call.name)
        self._known(call.inner)

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
        place = find(looks, began, self._stacks, held_looks(evidence))
        known = self._known(place.call.name)
        # What is deeper down tells, too, what a library function did.
        both = [each for each in (known, self._known(place.call.inner)) if each is not None]
        judgement = judge(
            measure(
                evidence,
                looks,
                began,
                ended,
                tick_s=demand.tick_s,
                in_call=place.call.name is not None,
                in_c_call=place.call.name is not None and place.call.is_c,
                call_waits=_may_wait(place) and any(each.kind in ONLY_WAITING for each in both),
                call_holds_gil=None
                if place.call.name is None
                else any(each.releases_gil is False for each in both),
                own_threads=_own_threads(place, both),
            )
        )
        culprit, call = place.culprit, place.call
        if judgement.cause == "gc" and not self._is_written(place):
            call, known = Call(None), None  # the collector runs what it likes, anywhere
        if culprit is None:
            culprit = named[0]
            if call.name is None:
                call = Call(named[1])
            known = self._known(call.name)
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
            call=call.name,
            advice=self._advise(judgement, culprit, call, known, looks),
            stack=place.stack,
            leaf_call=place.leaf,
            samples=len(looks),
            ongoing=observed.ongoing,
            call_kind=known.kind if known is not None else None,
            phase=phase_of(evidence, observed.entry, began, monitor.listening_since),
        )

    def _is_written(self, place: Place) -> bool:
        """Whether the call stands in the culprit's line: what was found in the code does."""
        if place.call.is_c or place.call.name is None:
            return True
        at = own_index(place.stack, self._stacks.is_own)
        if at is None:
            return False
        return spelled_name(*place.stack[at][:2]) == place.call.name.rpartition(".")[2]

    def _known(self, call: str | None) -> KnownCall | None:
        return self._table.lookup(call) if call is not None else None

    def _advise(
        self,
        judgement: Judgement,
        culprit: Frame | None,
        call: Call,
        known: KnownCall | None,
        looks: tuple[Look, ...],
    ) -> str | None:
        place = (culprit.file, culprit.line, call.name or "") if culprit is not None else ("", 0, "")
        agrees = self._verdicts.agrees(place, _thread_helps(judgement, known))
        sentence = self._table.advise(
            judgement.cause,
            call.name,
            inner=call.inner,
            is_awaited=call.is_awaited,
            releases_gil=judgement.releases_gil,
            is_disputed=not agrees and culprit is not None,
            contenders=_contenders(looks, self._stacks.is_own) if judgement.cause == "gil_contention" else (),
        )
        return printable(sentence, MAX_SENTENCE) if sentence is not None else None


def looks_within(evidence: Evidence, began: float, ended: float) -> tuple[Look, ...]:
    """The samples that were taken in a stretch."""
    return tuple(look for look in evidence.looks if began <= look.at <= ended)


def _may_wait(place: Place) -> bool:
    """Whether the call does not say of itself that it never waits, as ``queue.Queue.put_nowait``."""
    return place.call.name is None or not place.call.name.endswith("_nowait")


def _own_threads(place: Place, known: Sequence[KnownCall]) -> bool | None:
    """Whether the call may compute in threads of its own; ``None`` where that is not known."""
    if place.leaf is None or any(each.kind in WAITING for each in known):
        return False
    return True if any(each.kind in COMPUTING for each in known) else None


def _thread_helps(judgement: Judgement, known: KnownCall | None) -> bool | None:
    """What is about to be said of threads."""
    if judgement.cause == "gil_held":
        return False
    if judgement.cause != "cpu":
        return None
    if judgement.releases_gil is None and known is not None and known.kind in COMPUTING:
        return known.releases_gil
    return judgement.releases_gil


def _contenders(looks: tuple[Look, ...], own_code: OwnCode) -> Sequence[str]:
    """Functions of the application's in other threads that took the GIL: three at most."""
    names: list[str] = []
    for look in looks:
        for code, _, _, module in look.others:
            name = qualified_name(code, module)
            if name not in names and own_code(code, module):
                names.append(name)
    return names[:3]
