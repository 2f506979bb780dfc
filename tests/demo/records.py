"""Telemetry records as the receiver would have made them, without a service."""

from __future__ import annotations

from itertools import count

from otel_loopblock.demo import shop
from otel_loopblock.demo.endpoints import ENDPOINTS, INNOCENT, QUOTE, QUOTE_FUNCTION, THREADED
from otel_loopblock.demo.load import Answer, Load
from otel_loopblock.demo.promises import BLOCK_DURATION, LAG, SATURATED, Run
from otel_loopblock.local.findings import Findings
from otel_loopblock.local.statistics import histogram_between
from otel_loopblock.local.telemetry import Event, Exemplar, Link, Metric, Point, Span

START = 1_700_000_000_000_000_000
MS = 1_000_000
BOUNDS = (0.001, 0.005, 0.010, 0.025, 0.050, 0.100, 0.250)
CALLS = {"time.sleep": "time.sleep", "sqlite3": "sqlite3.Connection.execute", "json": "json.loads"}

_ids = count(1)


def make_span(name, start_ms, end_ms, *, trace=1, parent=None, kind="INTERNAL", events=(), links=(), **more):
    return Span(
        trace_id=f"{trace:032x}",
        span_id=f"{next(_ids):016x}",
        parent_span_id=parent.span_id if parent is not None else None,
        name=name,
        kind=kind,
        start_unix_ns=START + int(start_ms * MS),
        end_unix_ns=START + int(end_ms * MS),
        attributes=more,
        events=tuple(events),
        links=tuple(links),
        status="UNSET",
        status_message="",
        dropped_events=0,
        scope="test",
        resource={},
    )


def blocked(start_ms, length_ms, *, function="shop.charge_card", call="time.sleep", cause="wait", **more):
    attributes = {
        "event_loop.block.duration": length_ms / 1000,
        "event_loop.block.cause": cause,
        "code.function.name": function,
        "event_loop.block.call": call,
        "code.file.path": "/srv/shop.py",
        "code.line.number": 28,
        "event_loop.block.advice": "Use await asyncio.sleep(...).",
        "code.stacktrace": '  File "/srv/app.py", line 70, in payment\n  [in time.sleep]\n',
        **more,
    }
    return Event(
        name="event_loop.blocked",
        time_unix_ns=START + int(start_ms * MS),
        attributes={key: value for key, value in attributes.items() if value is not None},
    )


def delayed(at_ms, length_ms, culprit):
    return Event(
        name="event_loop.delayed",
        time_unix_ns=START + int(at_ms * MS),
        attributes={
            "event_loop.delay.max": length_ms / 1000,
            "event_loop.delay.culprit.trace_id": culprit.trace_id,
            "event_loop.delay.culprit.span_id": culprit.span_id,
        },
    )


def link_to(span):
    return Link(trace_id=span.trace_id, span_id=span.span_id, attributes={})


def request(path, start_ms, end_ms, *, trace, **more):
    return make_span(
        f"GET {path}", start_ms, end_ms, trace=trace, kind="SERVER", **{"http.route": path}, **more
    )


def histogram(name, at_ms, counts, *, exemplars=()):
    return Metric(
        name=name,
        kind="histogram",
        unit="s",
        description="",
        temporality="cumulative",
        monotonic=None,
        points=(
            Point(
                attributes={"event_loop.type": "uvloop"},
                start_unix_ns=START,
                time_unix_ns=START + int(at_ms * MS),
                value=None,
                count=sum(counts),
                sum=sum(count * bound for count, bound in zip(counts, (*BOUNDS, 1.0), strict=True)),
                min=None,
                max=None,
                bounds=BOUNDS,
                bucket_counts=tuple(counts),
                exemplars=tuple(
                    Exemplar(value=0.1, time_unix_ns=START, trace_id=t, span_id=None, attributes={})
                    for t in exemplars
                ),
            ),
        ),
        scope="otel_loopblock",
        resource={},
    )


def answer(path, trace, *, duration_s=0.1, status=200, error=""):
    return Answer(path=path, duration_s=duration_s, status=status, error=error, trace_id=f"{trace:032x}")


def whole_run(*, spans=None, metrics=None, before=None, threaded=None, crowd=None, after=None):
    """A run in which everything promised is there; what is given stands in its place."""
    if spans is None:
        spans = all_spans()
    if metrics is None:
        metrics = all_metrics(spans)
    if before is None:
        paths = [*(endpoint.blocking for endpoint in ENDPOINTS), INNOCENT]
        before = load(0, 1000, [answer(path, trace) for trace, path in enumerate(paths, 1)])
    if after is None:
        paths = [*(endpoint.offloaded for endpoint in ENDPOINTS), INNOCENT]
        after = load(1500, 2500, [answer(path, trace) for trace, path in enumerate(paths, 11)])
    return Run(
        threshold_s=0.01,
        before=before,
        threaded=threaded or load(900, 1000, [answer(THREADED, 31)]),
        crowd=crowd or load(1000, 1500, [answer(QUOTE, 21)]),
        after=after,
        findings=Findings(spans),
        metrics=metrics,
        lag_before=histogram_between(metrics, LAG, before.started_unix_ns, before.ended_unix_ns),
        lag_after=histogram_between(metrics, LAG, after.started_unix_ns, after.ended_unix_ns),
    )


def load(start_ms, end_ms, answers):
    return Load(
        started_unix_ns=START + start_ms * MS, ended_unix_ns=START + end_ms * MS, answers=tuple(answers)
    )


def all_spans():
    spans = []
    for trace, endpoint in enumerate(ENDPOINTS, 1):
        event = blocked(
            trace * 200 + 10,
            100,
            function=endpoint.function,
            call=CALLS.get(endpoint.call),
            cause=endpoint.cause or "cpu",
            **{
                "code.line.number": max(endpoint.lines),
                "event_loop.block.delayed_requests": 1 if trace == 1 else None,
            },
        )
        server = request(endpoint.blocking, trace * 200, trace * 200 + 120, trace=trace)
        inner = make_span(
            "work", trace * 200 + 10, trace * 200 + 110, trace=trace, parent=server, events=[event]
        )
        spans += [inner, server]
        spans.append(request(endpoint.offloaded, 1500, 1700, trace=trace + 10))
    first = next(span for span in spans if span.events)
    kept = blocked(
        910, 50, function=f"{shop.__name__}.dearest_product", call="json.loads", cause="gil_contention"
    )
    spans.append(request(THREADED, 900, 960, trace=31, events=[kept]))
    spans.append(
        request(
            INNOCENT,
            205,
            340,
            trace=len(ENDPOINTS) + 1,
            events=[delayed(210, 100, first)],
            links=[link_to(first)],
        )
    )
    spans.append(request(INNOCENT, 1500, 1530, trace=len(ENDPOINTS) + 11))
    quoted = request(QUOTE, 1010, 1200, trace=21)
    full = make_span(
        SATURATED,
        1010,
        1310,
        trace=22,
        links=[link_to(quoted)],
        **{"event_loop.saturation.functions": (QUOTE_FUNCTION,)},
    )
    spans += [quoted, full]
    return spans


def all_metrics(spans):
    traces = [span.trace_id for span in spans if span.events]
    return [
        histogram(LAG, 0, (0,) * 8),
        histogram(LAG, 1000, (10, 0, 0, 0, 0, 5, 5, 0)),
        histogram(LAG, 1500, (12, 0, 0, 0, 0, 5, 5, 0)),
        histogram(LAG, 2500, (50, 9, 0, 0, 0, 5, 5, 0)),
        histogram(BLOCK_DURATION, 2500, (0, 0, 0, 0, 0, 4, 0, 0), exemplars=traces),
    ]
