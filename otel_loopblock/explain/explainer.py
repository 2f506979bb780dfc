"""Makes the record of a block: where it was blocked, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.advice.known import COMPUTING, ONLY_WAITING, WAITING, KnownCall
from otel_loopblock.explain.awaited import words
from otel_loopblock.explain.block import Block, Gist, Named, Observed
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
from otel_loopblock.watch.evidence import Delay, Evidence, Look, Reading, Watch
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.servers import SERVERS


class Interpretation(NamedTuple):
    """What the looks at a stretch say, whatever the clocks say at its end."""

    looks: tuple[Look, ...]
    """Those of the stretch."""
    of: tuple[Look, ...]
    """Those of its whole callback."""
    began: float | None
    """When the stretch began; ``None`` where that makes no difference, as all its looks say the same."""
    place: Place
    known: KnownCall | None
    """What is known of the call."""
    both: tuple[KnownCall, ...]
    """And of the one deeper down, which tells, too, what a library function did."""
    is_of_server: bool
    is_own: bool
    """Whether any look saw code of the application's own."""
    gist: Gist | None = None
    """What is settled of the callback, where anything is."""


SETTLED = 0.9
"""Of what was seen, so much must have one cause for it to be settled."""

MAX_UNSEEN = 0.4
"""Of the stretch, so much may be unseen: whatever it was, what is settled is the cause of more than half."""


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
        self._last: Interpretation | None = None

    def prepare(self, monitor: Monitor, watch: Watch) -> None:
        """Explain a callback that still runs, as far as it was seen; on the watchdog's thread.

        At its end the loop has no time for that. Where nothing was seen since, :meth:`settled` has it then.

        Args:
            monitor: of the loop.
            watch: the looks at the callback; at least one.
        """
        looks, last = watch.looks, watch.looks[-1]
        read = self._interpret(looks, looks, watch.started, watch.delays)
        seen = Evidence(
            watch.started,
            looks,
            watch.before,
            Reading(last.at, last.thread_cpu, last.process_cpu, last.scheduling, last.busy),
            watch.delays,
            watch.wake_ups,
            monitor.collections,
            watch.throttled,
        )
        judgement = self._judge(seen, read, watch.started, last.at)
        gist = None
        if judgement.cause == "wait" and judgement.share >= SETTLED and read.place.culprit is not None:
            culprit, call = read.place.culprit, read.place.call
            gist = Gist("wait", culprit, call.name, self._advise(judgement, culprit, call, read.known, looks))
        self._last = read._replace(gist=gist)

    def settled(self, evidence: Evidence, began: float, ended: float) -> Gist | None:
        """What is known of a stretch without explaining it, because nothing at its end can change that.

        Only of one that waited: to tell computing, and who had the GIL, takes the last reading of the clocks.

        Args:
            evidence: what is known of the callback.
            began: ``perf_counter`` at the start of the stretch.
            ended: the same at its end.
        """
        last, looks = self._last, evidence.looks
        if last is None or last.gist is None or last.of is not looks or last.began not in (None, began):
            return None
        seen_s = looks[-1].at - began
        is_seen = began <= looks[0].at and looks[-1].at <= ended
        is_most = (ended - began) - seen_s + (began - evidence.started) <= MAX_UNSEEN * (ended - began)
        return last.gist if is_seen and is_most else None

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
        read = self._interpret(looks, evidence.looks, began, evidence.delays)
        place, known = read.place, read.known
        judgement = self._judge(evidence, read, began, ended)
        if observed.settled is not None:  # and has been said
            judgement = judgement._replace(cause=observed.settled.cause, releases_gil=None)
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
            awaited_by=words(observed.awaiters, self._stacks.is_own),
            shared_function=place.shared_function,
            phase=phase_of(
                monitor,
                began,
                is_of_server=read.is_of_server or observed.entry in SERVERS,
                is_own=read.is_own or (place.culprit is None and self._is_own(culprit)),
            ),
        )

    def _interpret(
        self, looks: tuple[Look, ...], of: tuple[Look, ...], began: float, delays: Sequence[Delay]
    ) -> Interpretation:
        """Read the looks at a stretch, or find them read already; ``of`` are those of its whole callback."""
        last = self._last
        if last is not None and last.looks is looks and last.of is of and last.began in (None, began):
            return last
        held = held_looks(delays)
        place = find(looks, began, self._stacks, held)
        known = self._known(place.call.name)
        # Of a stack that is cut off the frames of the server are missing: any look tells.
        seen = [self._stacks.read(look, held=look.at in held) for look in of]
        return Interpretation(
            looks=looks,
            of=of,
            began=None if looks and all(each is seen[0] for each in seen) else began,
            place=place,
            known=known,
            both=tuple(each for each in (known, self._known(place.call.inner)) if each is not None),
            is_of_server=any(each.starts_server for each in seen),
            is_own=any(each.culprit is not None for each in seen),
        )

    def _judge(self, evidence: Evidence, read: Interpretation, began: float, ended: float) -> Judgement:
        place, both = read.place, read.both
        return judge(
            measure(
                evidence,
                read.looks,
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

    def _is_written(self, place: Place) -> bool:
        """Whether the call stands in the culprit's line: what was found in the code does."""
        if place.call.is_c or place.call.name is None:
            return True
        at = own_index(place.stack, self._stacks.is_own)
        if at is None:
            return False
        return spelled_name(*place.stack[at][:2]) == place.call.name.rpartition(".")[2]

    def _is_own(self, culprit: Frame | None) -> bool:
        return culprit is not None and self._stacks.is_own.owns(culprit.file)

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
    """The samples that were taken in a stretch: the very tuple, where that is all of them."""
    looks = evidence.looks
    if not looks or (began <= looks[0].at and looks[-1].at <= ended):
        return looks
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
