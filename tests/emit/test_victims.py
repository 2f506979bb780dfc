"""Which requests waited, and how long at most: arithmetic and bounds, without a loop."""

from __future__ import annotations

import contextvars
import itertools
from types import SimpleNamespace

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanKind

from otel_loopblock.emit import victims
from otel_loopblock.emit.context import ROOT
from otel_loopblock.emit.victims import AT_ONCE, MAX_LOOKS, Culprit, Victims, prefetch
from otel_loopblock.explain.block import Block

tracer = TracerProvider().get_tracer("test")

BLOCK = Block(
    started_s=100.0,
    duration_s=0.1,
    started_unix_ns=1_000_000_000,
    threshold_s=0.01,
    loop_type="asyncio",
    thread_id=1,
    thread_name="MainThread",
    task_name=None,
    cause="wait",
    evidence={},
    culprit=None,
    call=None,
    advice=None,
    stack=(),
    leaf_call=None,
    samples=0,
)
OBSERVED = SimpleNamespace(block=BLOCK, gist=BLOCK, began=100.0, ended=100.1, started_unix_ns=1_000_000_000)
CULPRIT = Culprit(
    observed=OBSERVED,
    started_s=100.0,
    ended_s=100.1,
    span=trace.INVALID_SPAN,
    carrier=INVALID_SPAN_CONTEXT,
    traces=frozenset({0}),
)


class Outcome:
    """What :class:`Victims` said."""

    def __init__(self, maximum=100, budget_s=60.0, prefetched=None):
        self.annotated = []
        self.recorded = []
        self.spent_s = 0.0
        self.victims = Victims(
            maximum,
            budget_s,
            self._spend,
            lambda culprit: self._annotate,
            self._finish,
            self._recorder,
            prefetched,
        )

    def _annotate(self, victims):
        self.annotated += [span for span, *_ in victims]

    def _spend(self, seconds):
        self.spent_s += seconds

    def _finish(self, count, record_all):
        assert count
        for _ in record_all():
            pass

    def _recorder(self, culprit):
        return lambda root, delay_s: self.recorded.append((root, delay_s))


def root_span(name="GET /", **options):
    return tracer.start_span(name, context.Context(), **options)


def waiting(span, due=None, task=None):
    in_it = contextvars.Context()
    in_it.run(context.attach, trace.set_span_in_context(span, context.Context()))
    return in_it, task, due


@pytest.mark.parametrize(
    ("due", "expected"), [(None, 0.1), (99.0, 0.1), (100.0, 0.1), (100.03, 0.07), (100.1, 0.0), (100.2, -0.1)]
)
def test_longest_wait_is_what_of_the_callback_came_after_it_was_due(due, expected):
    assert CULPRIT.longest_wait(due) == pytest.approx(expected)


def test_wall_clock_follows_the_stretch_that_names_the_culprit():
    assert CULPRIT.unix_ns(100.05) == pytest.approx(1_050_000_000, abs=1000)


def test_each_request_is_found_once():
    outcome, span = Outcome(), root_span()

    outcome.victims.look(iter([waiting(span), waiting(span, 100.02), waiting(root_span())]))
    outcome.victims.blame(CULPRIT)
    outcome.victims.waited(iter([waiting(span)]))
    outcome.victims.ended()

    assert len(outcome.annotated) == 2
    assert outcome.annotated[0] is span
    assert [delay for _, delay in outcome.recorded] == pytest.approx([0.1, 0.1])


def upcoming(of_waiting):
    return object(), of_waiting[0], 100.05, None


def test_what_was_read_ahead_is_not_read_again(monkeypatch):
    span = root_span()
    own = waiting(span)
    prefetched = prefetch([upcoming(own)])
    monkeypatch.setattr(victims, "local_root", lambda span: pytest.fail("read again"))

    found = Outcome(prefetched=prefetched).victims.look(
        iter([(own[0], None, 100.02), (own[0], None, 100.03)])
    )

    assert found == [(span, span, 100.02, span.get_span_context().trace_id)]


def test_context_in_which_another_span_is_current_since_it_was_read_is_read_again():
    own, another = waiting(root_span()), root_span()
    prefetched = prefetch([upcoming(own)])
    own[0].run(context.attach, trace.set_span_in_context(another, context.Context()))

    found = Outcome(prefetched=prefetched).victims.look(iter([own]))

    assert [victim[0] for victim in found] == [another]


def test_span_that_has_ended_since_it_was_read_is_looked_for_anew():
    root = root_span()
    inner = tracer.start_span("SELECT", trace.set_span_in_context(root, context.Context()))
    own = waiting(inner)
    prefetched = prefetch([upcoming(own)])
    inner.end()
    setattr(inner, ROOT, root)
    outcome = Outcome(prefetched=prefetched)

    found = outcome.victims.look(iter([own]))

    assert [victim[0] for victim in found] == [root]


def test_only_so_many_are_read_ahead_and_none_that_record_nothing(monkeypatch):
    ended = root_span()
    ended.end()
    nobody = [waiting(ended), waiting(trace.INVALID_SPAN), (contextvars.Context(),)]
    some = [upcoming(waiting(root_span())) for _ in range(5)]

    assert len(prefetch([*map(upcoming, nobody), *some]).contexts) == 5
    monkeypatch.setattr(victims, "MAX_LOOKS", 4)
    assert len(prefetch(some).contexts) == 4


def test_requests_whose_timers_are_due_are_counted_before_they_are_found():
    own, twice, once, too_late = (root_span() for _ in range(4))
    timers = [
        (object(), waiting(span)[0], due, None)
        for span, due in (
            (too_late, 100.0995),
            (twice, 100.2),
            (once, 100.06),
            (own, 100.01),
            (twice, 100.05),
        )
    ]
    victims = Outcome(prefetched=prefetch(timers)).victims
    own_trace = {own.get_span_context().trace_id}

    assert victims.count() == 0  # of no culprit yet
    victims.expect((100.0, 100.1, own_trace))
    assert victims.count() == 2
    victims.look(iter([waiting(once), waiting(root_span())]))
    assert victims.count() == 3
    victims.expect((100.0, 100.055, own_trace))
    assert victims.count() == 3  # what is in the queue waited, be it due or not
    victims.blame(CULPRIT._replace(ended_s=100.2, traces=own_trace))
    assert victims.count() == 4


def test_ended_spans_and_empty_contexts_are_nobody():
    outcome, ended = Outcome(), root_span()
    ended.end()

    outcome.victims.look(iter([waiting(ended), waiting(trace.INVALID_SPAN)]))
    outcome.victims.blame(CULPRIT)
    outcome.victims.ended()

    assert outcome.annotated == outcome.recorded == []


def test_wait_of_less_than_a_millisecond_is_none():
    outcome = Outcome()

    outcome.victims.look(iter([waiting(root_span(), 100.0995), waiting(root_span(), 100.098)]))
    outcome.victims.blame(CULPRIT)
    outcome.victims.ended()

    assert len(outcome.annotated) == 1
    assert [delay for _, delay in outcome.recorded] == pytest.approx([0.002])


def test_own_traces_are_left_out_of_count_events_and_metric():
    outcome, own, other = Outcome(), root_span(), root_span()
    trace_id = own.get_span_context().trace_id

    outcome.victims.look(iter([waiting(own), waiting(other)]))
    outcome.victims.blame(CULPRIT._replace(traces=frozenset({trace_id})))

    assert outcome.victims.count() == 1
    outcome.victims.ended()

    assert outcome.annotated == [other]
    assert [root for root, _ in outcome.recorded] == [other]


def test_of_a_block_that_was_not_reported_victims_are_recorded_only():
    outcome = Outcome()

    outcome.victims.look(iter([waiting(root_span())]))
    outcome.victims.blame(CULPRIT._replace(carrier=None))
    outcome.victims.ended()

    assert outcome.annotated == []
    assert len(outcome.recorded) == 1


def test_beyond_the_maximum_requests_are_recorded_only_over_all_turns():
    outcome = Outcome(maximum=3)

    outcome.victims.look(waiting(root_span()) for _ in range(2))
    outcome.victims.blame(CULPRIT)
    outcome.victims.waited(waiting(root_span()) for _ in range(2))
    outcome.victims.ended()

    assert len(outcome.annotated) == 3
    assert len(outcome.recorded) == 4


@pytest.fixture
def clock(monkeypatch):
    """A clock that shows a second more each time that it is read."""
    monkeypatch.setattr(victims, "thread_time", itertools.count().__next__)


@pytest.mark.parametrize(
    ("budget_s", "annotated"),
    [
        (2, AT_ONCE),  # gone before the first are annotated: they are, nevertheless
        (7, 3 * AT_ONCE),  # it takes five to find them, one more for each of the next times
        (8, 30),
    ],
)
def test_beyond_their_time_requests_are_recorded_only(clock, budget_s, annotated):
    outcome = Outcome(budget_s=budget_s)

    outcome.victims.look(waiting(root_span()) for _ in range(30))
    outcome.victims.blame(CULPRIT)
    outcome.victims.ended()

    assert len(outcome.annotated) == annotated
    assert len(outcome.recorded) == 30


@pytest.mark.parametrize(("first", "told"), [(AT_ONCE, AT_ONCE), (1, 2)])
def test_in_later_turns_there_is_only_the_time_that_is_left_but_for_the_first_few(clock, first, told):
    outcome = Outcome(budget_s=2)

    outcome.victims.look(iter([waiting(root_span()) for _ in range(first)]))
    outcome.victims.blame(CULPRIT)
    outcome.victims.waited(iter([waiting(root_span())]))
    outcome.victims.ended()

    assert len(outcome.annotated) == told
    assert len(outcome.recorded) == first + 1


def test_those_not_looked_at_in_time_are_recorded_though_they_have_gone_on_and_ended():
    outcome = Outcome()
    spans = [root_span() for _ in range(MAX_LOOKS + 50)]
    contexts = [waiting(span) for span in spans]

    outcome.victims.look(iter(contexts))
    outcome.victims.blame(CULPRIT)
    for each, span in zip(contexts, spans, strict=True):
        each[0].run(context.attach, context.Context())
        span.end()
    outcome.victims.ended()

    assert len(outcome.annotated) == 100
    assert len(outcome.recorded) == MAX_LOOKS + 50


def test_only_so_many_are_looked_at_and_set_aside_as_there_is_time_for():
    outcome = Outcome(budget_s=1e-9)
    spans = [root_span() for _ in range(20 * AT_ONCE)]

    outcome.victims.look(map(waiting, spans))
    outcome.victims.blame(CULPRIT)
    outcome.victims.waited(waiting(root_span()) for _ in range(AT_ONCE))
    outcome.victims.ended()

    assert [root for root, _ in outcome.recorded] == spans[: 2 * AT_ONCE]
    assert outcome.spent_s > 0.0


@pytest.mark.parametrize(
    ("kind", "late", "expected"),
    [
        (SpanKind.SERVER, True, 1),
        (SpanKind.CONSUMER, True, 1),
        (SpanKind.INTERNAL, True, 0),
        (SpanKind.SERVER, False, 0),
    ],
)
def test_span_that_starts_in_a_late_task_is_that_of_a_request_that_arrived_meanwhile(kind, late, expected):
    outcome, task = Outcome(), object()

    outcome.victims.look(iter([waiting(trace.INVALID_SPAN, task=task)]))
    outcome.victims.blame(CULPRIT)
    span = root_span(kind=kind)
    for _ in range(2):  # only the first request of a task was there already
        outcome.victims.span_started(span, task if late else object())
    outcome.victims.ended()

    assert outcome.annotated == [span] * expected
    assert len(outcome.recorded) == expected


def test_late_tasks_are_forgotten_with_the_next_turn():
    outcome, task = Outcome(), object()

    outcome.victims.look(iter([waiting(trace.INVALID_SPAN, task=task)]))
    outcome.victims.blame(CULPRIT)
    outcome.victims.waited(iter(()))
    outcome.victims.span_started(root_span(kind=SpanKind.SERVER), task)

    assert outcome.annotated == []
