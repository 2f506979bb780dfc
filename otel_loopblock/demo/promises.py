"""What the demonstration promises to show, and whether it was seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_loopblock.demo.endpoints import (
    ENDPOINTS,
    INNOCENT,
    KEEPS_THE_GIL,
    QUOTE,
    QUOTE_FUNCTION,
    THREADED,
    Endpoint,
)
from otel_loopblock.demo.load import Load
from otel_loopblock.local.findings import BlockSeen, Findings
from otel_loopblock.local.statistics import Histogram
from otel_loopblock.local.telemetry import Metric
from otel_loopblock.local.wording import milliseconds, short

LAG = "event_loop.lag"
BLOCK_DURATION = "event_loop.block.duration"
SATURATED = "event_loop.saturated"

SHRINKS_TO = 0.5
"""Share of the mean lag that may be left after offloading; a busy machine adds some of its own."""


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise and how it ended."""

    text: str
    kept: bool
    seen: str
    """What was seen, in a few words; with a promise not kept, why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All that a run brought in."""

    threshold_s: float
    before: Load
    threaded: Load
    """What keeps the GIL in a thread."""
    crowd: Load
    """Many that ask for what is fast alone."""
    after: Load
    findings: Findings
    metrics: Sequence[Metric]
    lag_before: Histogram | None
    lag_after: Histogram | None

    @property
    def loads(self) -> tuple[Load, ...]:
        """All of them."""
        return self.before, self.threaded, self.crowd, self.after

    def blocks_in(self, load: Load) -> list[BlockSeen]:
        """The blocks that began while a load was on."""
        return [
            block
            for block in self.findings.blocks
            if load.started_unix_ns <= block.started_unix_ns <= load.ended_unix_ns
        ]


def promises(run: Run) -> list[Promise]:
    """Judge a run whose telemetry can be read."""
    return [
        answered(*run.loads),
        _traces_arrived(run),
        *(_culprit_named(run, endpoint) for endpoint in ENDPOINTS),
        _each_on_its_own_request(run),
        _keeper_named(run),
        _victims_point_to_culprits(run),
        _metric_leads_to_trace(run),
        _full_loop_explained(run),
        _no_block_when_offloaded(run),
        _lag_shrinks(run),
    ]


def answered(*loads: Load) -> Promise:
    """Every request got its answer."""
    text = "Every request is answered"
    count = sum(len(load.answers) for load in loads)
    failures = [answer for load in loads for answer in load.failures()]
    if failures:
        first = failures[0]
        why = first.error or f"status {first.status}"
        return Promise(text, False, f"{len(failures)} of {count} were not; the first: {first.path}: {why}")
    return Promise(text, count > 0, f"{count} requests")


def _traces_arrived(run: Run) -> Promise:
    text = "Every request's trace arrives over OTLP"
    sent = {answer.trace_id for load in run.loads for answer in load.answers}
    known = {span.trace_id for span in run.findings.spans if span.kind == "SERVER"}
    missing = len(sent - known)
    if missing:
        return Promise(text, False, f"{missing} of {len(sent)} did not")
    return Promise(text, bool(sent), f"{len(sent)} traces, {len(run.findings.spans)} spans")


def _culprit_named(run: Run, endpoint: Endpoint) -> Promise:
    text = f"GET {endpoint.blocking} {endpoint.blocks_by}; its trace names {short(endpoint.function)}"
    if endpoint.call is not None:
        text += f" → {endpoint.call}"
    own = [
        block
        for block in run.blocks_in(run.before)
        if run.findings.route(block.span.trace_id) == endpoint.blocking
    ]
    named = [block for block in own if block.function == endpoint.function]
    if not own:
        return Promise(text, False, f"no block of {run.threshold_s * 1000:g} ms or more is on its traces")
    if not named:
        return Promise(text, False, f"its blocks name {_most_common(block.function for block in own)}")
    outside = [block.line for block in named if block.line not in endpoint.lines]
    if outside:
        return Promise(text, False, f"its blocks name line {outside[0]}, which is none of the function")
    if endpoint.call is None:
        right = [block for block in named if block.call is None]
    else:
        right = [block for block in named if (block.call or "").startswith(endpoint.call)]
    if not right:
        return Promise(text, False, f"its blocks name the call {_most_common(b.call for b in named)}")
    if endpoint.cause is not None and _most_common(block.cause for block in named) != endpoint.cause:
        causes = _most_common(block.cause for block in named)
        return Promise(text, False, f"the cause should be {endpoint.cause}, and is {causes}")
    return Promise(text, True, f"{len(named)} blocks, {_most_common(block.cause for block in named)}")


def _each_on_its_own_request(run: Run) -> Promise:
    text = "No block is on the trace of another request"
    routes = {endpoint.function: endpoint.blocking for endpoint in ENDPOINTS}
    checked = [block for block in run.blocks_in(run.before) if block.function in routes]
    wrong = [
        block for block in checked if run.findings.route(block.span.trace_id) != routes[block.function or ""]
    ]
    if wrong:
        block = wrong[0]
        where = run.findings.route(block.span.trace_id) or "no request's trace"
        return Promise(text, False, f"{len(wrong)} are; {short(block.function)} is on {where}")
    return Promise(text, bool(checked), f"{len(checked)} blocks")


def _keeper_named(run: Run) -> Promise:
    function = f"{KEEPS_THE_GIL.__module__}.{KEEPS_THE_GIL.__qualname__}"
    text = f"GET {THREADED} keeps the GIL in a thread; its trace names {short(function)} → json"
    own = [
        block
        for block in run.blocks_in(run.threaded)
        if run.findings.route(block.span.trace_id) == THREADED and block.cause == "gil_contention"
    ]
    if not own:
        return Promise(text, False, f"no wait for the GIL of {run.threshold_s * 1000:g} ms is on its traces")
    named = [block for block in own if block.function == function and (block.call or "").startswith("json")]
    if not named:
        return Promise(text, False, f"they name {_most_common(block.function for block in own)}")
    return Promise(text, True, f"{len(named)} waits")


def _victims_point_to_culprits(run: Run) -> Promise:
    text = f"GET {INNOCENT} that had to wait links to the trace that made it wait"
    findings = run.findings
    found = [delay for delay in findings.delays if findings.route(delay.span.trace_id) == INNOCENT]
    if not found:
        return Promise(text, False, "no event event_loop.delayed was received")
    right = {
        delay.span.trace_id
        for delay in found
        if findings.is_linked(delay) and findings.culprit_of(delay) is not None
    }
    if not right:
        return Promise(text, False, f"none of {len(found)} has a link to a trace with a block")
    return Promise(text, True, f"{len(right)} requests")


def _metric_leads_to_trace(run: Run) -> Promise:
    text = f"An exemplar of {BLOCK_DURATION} leads to the trace of a block"
    exports = [metric for metric in run.metrics if metric.name == BLOCK_DURATION]
    if not exports:
        return Promise(text, False, f"{BLOCK_DURATION} was not received")
    blocked = {block.span.trace_id for block in run.findings.blocks}
    exemplars = {
        exemplar.trace_id for metric in exports for point in metric.points for exemplar in point.exemplars
    }
    found = len(exemplars & blocked)
    if not found:
        return Promise(text, False, f"{len(exemplars)} exemplars, none with the trace of a block")
    return Promise(text, True, f"{found} traces")


def _full_loop_explained(run: Run) -> Promise:
    text = f"GET {QUOTE} fills the loop when many ask; {SATURATED} names {short(QUOTE_FUNCTION)}"
    load = run.crowd
    found = [
        span
        for span in run.findings.spans
        if span.name == SATURATED and load.started_unix_ns <= span.start_unix_ns <= load.ended_unix_ns
    ]
    if not found:
        return Promise(text, False, f"no span {SATURATED} was received")
    named = [
        span for span in found if QUOTE_FUNCTION in span.attributes.get("event_loop.saturation.functions", ())
    ]
    if not named:
        return Promise(text, False, f"none of {len(found)} spans names it")
    if not any(run.findings.route(link.trace_id) == QUOTE for span in named for link in span.links):
        return Promise(text, False, "no link leads to a request for it")
    longest = max(named, key=lambda span: span.end_unix_ns - span.start_unix_ns)
    return Promise(text, True, f"for {milliseconds((longest.end_unix_ns - longest.start_unix_ns) / 1e9)}")


def _no_block_when_offloaded(run: Run) -> Promise:
    text = "Offloaded, the same functions block the loop no more"
    functions = {endpoint.function for endpoint in ENDPOINTS}
    # Without CPUs to spare, a thread that has the GIL for a moment may lose its CPU just then.
    found = [
        block
        for block in run.blocks_in(run.after)
        if block.function in functions and block.cause != "gil_contention"
    ]
    if found:
        return Promise(text, False, f"{len(found)} blocks, by {_most_common(b.function for b in found)}")
    calls = sum(len(run.after.of(endpoint.offloaded)) for endpoint in ENDPOINTS)
    return Promise(text, calls > 0, f"0 blocks by them in {calls} requests")


def _lag_shrinks(run: Run) -> Promise:
    text = "Offloading halves the loop's mean lag, at least"
    if run.lag_before is None or run.lag_after is None:
        return Promise(text, False, f"{LAG} was not received")
    if not run.lag_before.count or not run.lag_after.count:
        return Promise(text, False, f"{LAG} has no values")
    before, after = run.lag_before.mean, run.lag_after.mean
    seen = f"{milliseconds(before)} before, {milliseconds(after)} after"
    return Promise(text, after <= SHRINKS_TO * before and before > 0, seen)


def _most_common(values: Iterable[str | None]) -> str:
    counted = Counter("nothing" if value is None else value for value in values)
    return counted.most_common(1)[0][0]
