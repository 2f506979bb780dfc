"""Everything is exported at once where a process hangs, and whoever asks for it waits for so long only."""

from __future__ import annotations

import threading
import time

import pytest

from otel_loopblock import guard
from otel_loopblock.emit import flush
from otel_loopblock.emit.flush import Flush


class Provider:
    """Notes its flushes; each waits for what it is given."""

    def __init__(self, wait=lambda: None):
        self.wait = wait
        self.asked = []
        self.done = 0

    def force_flush(self, timeout_millis):
        self.asked.append((timeout_millis, threading.current_thread().name))
        self.wait()
        self.done += 1


def test_all_providers_are_flushed_on_threads_of_their_own():
    providers = (Provider(), Provider(), Provider())

    Flush(lambda: providers)()

    assert [provider.done for provider in providers] == [1, 1, 1]
    assert {provider.asked[0] for provider in providers} == {(2000, "otel-loopblock-flush")}


def test_one_that_cannot_flush_is_left_out():
    provider = Provider()

    Flush(lambda: (object(), provider))()

    assert provider.done == 1


@pytest.mark.parametrize("again", [1, 3])
def test_slow_ones_are_waited_for_once_and_asked_once(monkeypatch, again):
    monkeypatch.setattr(flush, "FLUSH_S", 0.1)
    release = threading.Event()
    slow, fast = Provider(release.wait), Provider()
    flushes = Flush(lambda: (slow, fast))
    began = time.perf_counter()
    for _ in range(again):
        flushes()
    took_s = time.perf_counter() - began
    release.set()

    assert len(slow.asked) == 1
    assert fast.done == again
    assert 0.1 * again <= took_s < 0.1 * again + 2


def test_failure_is_counted_and_not_raised():
    guard.failures.clear()
    other = Provider()

    Flush(lambda: (Provider(lambda: 1 / 0), other))()

    assert other.done == 1
    assert guard.failures["flush what is reported of a hang"] == 1
    guard.failures.clear()
