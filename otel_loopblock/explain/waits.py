"""Makes the record of a time in which a loop that rested could not run on: who kept the GIL, in what call."""

from __future__ import annotations

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.block import Block, Named, Observed
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.phase import phase_of
from otel_loopblock.explain.stack import NOWHERE, Stacks, find
from otel_loopblock.naming import printable, qualified_name
from otel_loopblock.naming.text import MAX_SENTENCE
from otel_loopblock.watch.evidence import Evidence, RawFrame, Reading
from otel_loopblock.watch.monitor import Monitor
from otel_loopblock.watch.target import Target
from otel_loopblock.watch.waits import Wait

_NO_TARGET = Target(None, None)
_NO_EVIDENCE = Evidence(0.0, (), None, Reading(0.0, None, 0.0), (), 0, ())


def observe(wait: Wait, monitor: Monitor, stacks: Stacks, table: AdviceTable, threshold_s: float) -> Observed:
    """A wait as a block, which is explained when somebody asks; arguments as of :func:`explain`."""

    def explain_it(observed: Observed, monitor: Monitor, evidence: Evidence, named: Named) -> Block:
        return explain(wait, observed, monitor, stacks, table, threshold_s)

    return Observed(monitor, _NO_EVIDENCE, wait.began, wait.ended, _NO_TARGET, explain_it)


def explain(
    wait: Wait, observed: Observed, monitor: Monitor, stacks: Stacks, table: AdviceTable, threshold_s: float
) -> Block:
    """Explain a wait. Its culprit is a line of the thread that kept the GIL, never one of the loop's own.

    Args:
        wait: what was seen of it.
        observed: its stretch.
        monitor: of the loop that waited.
        stacks: reads the keeper's stack.
        table: where advice is looked up.
        threshold_s: the threshold that is exceeded.
    """
    keeper, place = wait.found.keeper, NOWHERE
    if keeper is not None:
        look = keeper.look
        # What kept the GIL was over when the look was taken.
        place = find((look,), wait.began, stacks, {look.at})
    culprit, call = place.culprit, place.call.name
    advice = table.advise_waiting(
        wait.cause,
        call or (culprit.function if culprit is not None else None),
        contenders=_own(wait.found.others, stacks.is_own),
    )
    rest = wait.rest
    evidence = {"event_loop.block.process_cpu_time": rest.process_cpu_s}
    if wait.gil_s > 0:
        evidence["event_loop.block.gil_wait"] = wait.gil_s
    evidence["event_loop.block.run_queue_delay"] = rest.queued_s
    known = table.lookup(call) if call is not None else None
    return Block(
        started_s=observed.began,
        duration_s=observed.duration_s,
        started_unix_ns=observed.started_unix_ns,
        threshold_s=threshold_s,
        loop_type=monitor.loop_type,
        thread_id=keeper.thread_id if keeper is not None else monitor.thread_id,
        thread_name=printable(keeper.thread_name if keeper is not None else monitor.thread_name),
        task_name=None,
        cause=wait.cause,
        evidence=evidence,
        culprit=culprit,
        call=call,
        advice=printable(advice, MAX_SENTENCE) if advice is not None else None,
        stack=place.stack,
        leaf_call=place.leaf,
        samples=1 if keeper is not None else 0,
        call_kind=known.kind if known is not None else None,
        phase=phase_of(
            monitor,
            observed.began,
            is_of_server=False,
            is_own=culprit is not None and stacks.is_own.owns(culprit.file),
        ),
    )


def _own(frames: tuple[RawFrame, ...], is_own: OwnCode) -> list[str]:
    """The application's own functions among these."""
    names = [qualified_name(code, module) for code, _, _, module in frames if is_own(code, module)]
    return list(dict.fromkeys(names))
