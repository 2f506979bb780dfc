"""The five searches of docs/jaeger.md, as Jaeger's page asks them: each finds culprits only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.stack import ask_without_waiting, wait_for

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "searched"
FUNCTION = "tests.service.scenarios.block"
SEARCHES = {
    "requests that blocked": {"tags": {"event_loop.blocked": "true"}},
    "a function": {
        "operation": "event_loop.blocked",
        "tags": {"code.function.name": FUNCTION},
        "min_duration": "50ms",
    },
    "a cause": {"operation": "event_loop.blocked", "tags": {"event_loop.block.cause": "wait"}},
    "a route": {"tags": {"event_loop.blocked": "true", "http.route": "/block_then_return"}},
    "a hang": {"operation": "event_loop.blocked", "tags": {"event_loop.block.ongoing": "true"}},
}


@pytest.fixture(scope="module")
def searched(stack):
    """A service of which one request blocks while others are under way, and which hangs at last."""
    service = stack.service(OTEL_SERVICE_NAME=SERVICE, OTEL_PYTHON_LOOPBLOCK_THRESHOLD_MS="40")
    for _ in range(5):
        for _ in range(5):
            ask_without_waiting(service, "/innocent")
        service.get("/block_then_return")
    wait_for(lambda: stack.jaeger.search(SERVICE, **SEARCHES["a function"]), "the blocks in Jaeger")
    wait_for(lambda: delayed(stack.jaeger.search(SERVICE)), "those that waited in Jaeger")
    ask_without_waiting(service, "/stuck")
    wait_for(lambda: stack.jaeger.search(SERVICE, **SEARCHES["a hang"]), "the hang in Jaeger")
    return stack.jaeger


def blocked(spans):
    return [span for span in spans if span["operationName"] == "event_loop.blocked"]


def delayed(traces):
    return [
        trace
        for trace, spans in traces.items()
        for span in spans
        if any(tag["key"] == "event_loop.delayed" for tag in span["tags"])
    ]


@pytest.mark.parametrize("name", SEARCHES)
def test_search_finds_culprits_only(searched, name):
    found = searched.search(SERVICE, **SEARCHES[name])

    assert found
    assert [trace for trace, spans in found.items() if not blocked(spans)] == []
    assert len(found) < len(searched.search(SERVICE))


def test_victims_are_found_by_their_culprit(searched):
    tags = {"event_loop.delay.culprit.function": FUNCTION}

    found = searched.search(SERVICE, tags=tags)

    assert found
    assert set(found) == set(delayed(found))


def test_jaeger_doubts_no_clock(searched):
    own = [span for spans in searched.search(SERVICE).values() for span in blocked(spans)]

    assert own
    warnings = [warning for span in own for warning in span["warnings"] or ()]
    # What hangs is told before its request's span has ended: that one may be missing.
    assert [w for w in warnings if "clock skew" in w and "invalid parent span IDs" not in w] == []


def test_link_patterns_use_names_of_ours():
    patterns = json.loads((ROOT / "deploy/jaeger/ui.json").read_text())["linkPatterns"]
    from otel_loopblock.emit import attributes

    assert {pattern["key"] for pattern in patterns} == {
        attributes.CULPRIT_TRACE_ID,
        attributes.CULPRIT_SPAN_ID,
    }
    assert all(f"#{{{pattern['key']}}}" in pattern["url"] for pattern in patterns)
