"""A block as OpenTelemetry attributes: in short, in full, as it is to those who waited, and for metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.semconv.attributes.code_attributes import (
    CODE_FILE_PATH,
    CODE_FUNCTION_NAME,
    CODE_LINE_NUMBER,
    CODE_STACKTRACE,
)
from opentelemetry.trace import SpanContext

from otel_loopblock.explain.awaited import is_default_name
from otel_loopblock.explain.block import Block, Gist

BLOCKED: Final = "event_loop.blocked"
"""Name of the event, the log event and the span of a block."""
DELAYED: Final = "event_loop.delayed"
"""Name of the event on a request that a block made wait."""

DURATION: Final = "event_loop.block.duration"
CAUSE: Final = "event_loop.block.cause"
CALL: Final = "event_loop.block.call"
ADVICE: Final = "event_loop.block.advice"
PHASE: Final = "event_loop.block.phase"
"""``startup`` for a block of the start-up of a server; absent otherwise."""
THRESHOLD: Final = "event_loop.block.threshold"
SAMPLES: Final = "event_loop.block.samples"
DELAYED_REQUESTS: Final = "event_loop.block.delayed_requests"
DELAY_MAX: Final = "event_loop.delay.max"
BEFORE_START: Final = "event_loop.delay.before_start"
"""True where the request waited before its span began: it cannot be seen in the span's own time."""
CULPRIT_FUNCTION: Final = "event_loop.delay.culprit.function"
CULPRIT_CAUSE: Final = "event_loop.delay.culprit.cause"
CULPRIT_ROUTE: Final = "event_loop.delay.culprit.route"
CULPRIT_TRACE_ID: Final = "event_loop.delay.culprit.trace_id"
CULPRIT_SPAN_ID: Final = "event_loop.delay.culprit.span_id"
# On spans themselves, because a search finds attributes of spans. `event_loop.blocked` and
# `event_loop.delayed` are true there.
BLOCK_COUNT: Final = "event_loop.block.count"
BLOCKED_TIME: Final = "event_loop.blocked_time"
DELAYED_TIME: Final = "event_loop.delayed_time"
AWAITED_BY: Final = "event_loop.block.awaited_by"
"""The tasks that awaited the one that blocked, the outermost last; Python 3.14 on."""
ONGOING: Final = "event_loop.block.ongoing"
SATURATED: Final = "event_loop.saturated"
"""Name of the log event and the span of a stretch in which a loop had no rest."""
SATURATION_DURATION: Final = "event_loop.saturation.duration"
SATURATION_UTILIZATION: Final = "event_loop.saturation.utilization"
SATURATION_CALLBACKS: Final = "event_loop.saturation.callbacks"
SATURATION_LAG_MAX: Final = "event_loop.saturation.lag_max"
SATURATION_FUNCTIONS: Final = (
    "event_loop.saturation.functions",
    "event_loop.saturation.function_shares",
    "event_loop.saturation.function_rest",
)
"""The names, largest share first; their shares; the share of all that are not among them."""
SATURATION_ROUTES: Final = (
    "event_loop.saturation.routes",
    "event_loop.saturation.route_shares",
    "event_loop.saturation.route_rest",
)
SATURATION_SAMPLES: Final = "event_loop.saturation.samples"
SATURATION_ONGOING: Final = "event_loop.saturation.ongoing"
LOOP_TYPE: Final = "event_loop.type"
EXECUTOR_TYPE: Final = "event_loop.executor.type"
"""``default`` (``run_in_executor(None, …)``, ``asyncio.to_thread``) or ``anyio`` (``def`` endpoints)."""
TASK_NAME: Final = "asyncio.task.name"
# In the semantic conventions (registry, thread); still incubating in the Python package.
THREAD_ID: Final = "thread.id"
THREAD_NAME: Final = "thread.name"
HTTP_ROUTE: Final = "http.route"

Value = str | int | float | bool | Sequence[str] | Sequence[float]


def seconds(value: float) -> float:
    """A duration, to a microsecond: what stands behind that is noise, and hard to read."""
    return round(value, 6)


def in_short(block: Block | Gist, duration_s: float, delayed_requests: int | None = None) -> dict[str, Value]:
    """What a person wants to know first: the attributes of an event that is not alone.

    Args:
        block: the record, or what is settled of it.
        duration_s: how long it was.
        delayed_requests: how many it is known to have made wait; left out for ``None``.
    """
    attributes: dict[str, Value] = {DURATION: seconds(duration_s), CAUSE: block.cause}
    if block.culprit is not None:
        attributes[CODE_FUNCTION_NAME] = block.culprit.function
    if block.call is not None:
        attributes[CALL] = block.call
    if block.culprit is not None and block.culprit.file:
        attributes[CODE_FILE_PATH] = block.culprit.file
        attributes[CODE_LINE_NUMBER] = block.culprit.line
    if block.advice is not None:
        attributes[ADVICE] = block.advice
    if delayed_requests is not None:
        attributes[DELAYED_REQUESTS] = delayed_requests
    return attributes


def of_block(block: Block, stacktrace: str | None, delayed_requests: int | None = None) -> dict[str, Value]:
    """All that is known of a block, what :func:`in_short` says first.

    Args:
        block: the record.
        stacktrace: its stack as text; left out for ``None``.
        delayed_requests: how many it is known to have made wait; likewise.
    """
    attributes = in_short(block, block.duration_s, delayed_requests)
    if block.phase is not None:
        attributes[PHASE] = block.phase
    attributes[THRESHOLD] = seconds(block.threshold_s)
    attributes[LOOP_TYPE] = block.loop_type
    if block.task_name is not None and not is_default_name(block.task_name):
        attributes[TASK_NAME] = block.task_name
    if block.awaited_by:
        attributes[AWAITED_BY] = block.awaited_by
    attributes[THREAD_ID] = block.thread_id
    attributes[THREAD_NAME] = block.thread_name
    attributes[SAMPLES] = block.samples
    if block.ongoing:
        attributes[ONGOING] = True
    attributes.update((name, seconds(value)) for name, value in block.evidence.items())
    if stacktrace is not None:
        attributes[CODE_STACKTRACE] = stacktrace
    return attributes


def of_delay(
    block: Block | Gist, carrier: SpanContext | None, route: str | None, delay_s: float
) -> dict[str, Value]:
    """The attributes of ``event_loop.delayed``. Those of the culprit have names of their own, so that a
    search for a culprit finds no victim.

    Args:
        block: what made the request wait, or what is settled of it.
        carrier: the span that leads to it, or an invalid one; ``None`` for a block that is not reported.
        route: ``http.route`` of the request that blocked.
        delay_s: how long the other one waited at most.
    """
    attributes: dict[str, Value] = {DELAY_MAX: seconds(delay_s), CULPRIT_CAUSE: block.cause}
    if block.culprit is not None:
        attributes[CULPRIT_FUNCTION] = block.culprit.function
    if route is not None:
        attributes[CULPRIT_ROUTE] = route
    if carrier is not None and carrier.is_valid:
        attributes[CULPRIT_TRACE_ID] = trace.format_trace_id(carrier.trace_id)
        attributes[CULPRIT_SPAN_ID] = trace.format_span_id(carrier.span_id)
    return attributes


def of_metric(
    block: Block, function: str | None, route: str | None, *, with_cause: bool = True
) -> Mapping[str, Value]:
    """The bounded attributes of the metrics of a block.

    Args:
        block: the record.
        function: value of ``code.function.name``, bounded by the caller; ``None`` where unknown.
        route: value of ``http.route``.
        with_cause: whether the cause is an attribute.
    """
    attributes: dict[str, Value] = {LOOP_TYPE: block.loop_type}
    if with_cause:
        attributes[CAUSE] = block.cause
    if block.phase is not None:
        attributes[PHASE] = block.phase
    if function is not None:
        attributes[CODE_FUNCTION_NAME] = function
    if route is not None:
        attributes[HTTP_ROUTE] = route
    return attributes
