"""Work that a loop's thread leaves to the watchdog's."""

from __future__ import annotations

import threading

from otel_loopblock.registry import registry
from otel_loopblock.watchdog import Watchdog


def test_deferred_work_is_pending_until_every_thread_has_done_its_part():
    watchdog = Watchdog(registry)
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        go_on.wait(30)

    watchdog._deferred.append(slow)
    other = threading.Thread(target=watchdog.drain)
    other.start()
    begun.wait(30)
    watchdog._deferred.append(int)
    watchdog.drain()

    assert watchdog.pending
    go_on.set()
    other.join(30)
    assert not watchdog.pending


def test_work_that_fails_is_counted_and_the_rest_is_done(caplog):
    from otel_loopblock import guard

    watchdog = Watchdog(registry)
    done = []

    def fail():
        raise LookupError("ours")

    watchdog.defer(fail)  # no thread runs: at once
    watchdog.defer(lambda: done.append(1))

    assert done == [1]
    assert guard.failures.pop("emit telemetry") == 1
    assert not watchdog.pending
