"""What the collector runs while it blocks a line is no call of that line's."""

from __future__ import annotations

import functools
import gc
import queue
import weakref

import pytest


class Node:
    """Refers to itself: only the collector frees it."""

    def __init__(self):
        self.me = self


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_finalizer_is_not_the_call_of_a_line_that_the_collector_blocked(telemetry, run):
    telemetry.instrument(threshold_ms=10)
    full = queue.Queue(1)
    full.put(None)
    references = []

    async def main():
        # The callback is a library's, and waits: a look sees it.
        node = Node()
        references.append(weakref.ref(node, functools.partial(full.put, timeout=0.2)))
        with telemetry.tracer.start_as_current_span("request"):
            del node
            gc.collect()

    run(main())

    attributes = [dict(event.attributes) for _, event in telemetry.events()]
    (found,) = [each for each in attributes if each["event_loop.block.duration"] > 0.15]
    assert found["event_loop.block.cause"] == "gc"
    assert found["code.function.name"].endswith("main")
    assert "event_loop.block.call" not in found
