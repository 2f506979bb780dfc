"""Has everything exported at once: a process that hangs may be killed before its next batch is due.

Supervisors kill a worker that does not answer, and with it all that batch processors still hold.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from otel_loopblock import guard, threads
from otel_loopblock.clocks import perf_counter

FLUSH_S: Final = 2.0
"""How long whoever asks for it waits at most."""

THREAD_NAME: Final = "otel-loopblock-flush"


@runtime_checkable
class _Flushing(Protocol):
    def force_flush(self, timeout_millis: int) -> object:
        """Export what is pending."""


Providers: TypeAlias = Callable[[], tuple[Any, ...]]
"""Returns the providers that there are now."""


class Flush:
    """Flushes providers, each on a thread of its own: an SDK's ``force_flush`` may ignore its timeout.

    Args:
        providers: what is to be flushed; those that cannot be are left out.
    """

    def __init__(self, providers: Providers) -> None:
        self._providers = providers
        self._lasting: dict[int, threading.Thread] = {}

    def __call__(self) -> None:
        """Flush, and wait for :data:`FLUSH_S` at most. One that still is at it from before is left alone."""
        if not threads.may_start():
            return
        until = perf_counter() + FLUSH_S
        self._lasting = {key: thread for key, thread in self._lasting.items() if thread.is_alive()}
        for number, provider in enumerate(self._providers()):
            if number not in self._lasting and isinstance(provider, _Flushing):
                thread = threading.Thread(
                    target=guard.call,
                    args=("flush what is reported of a hang", _flush, provider),
                    name=THREAD_NAME,
                    daemon=True,
                )
                threads.start(thread)
                self._lasting[number] = thread
        for thread in self._lasting.values():
            thread.join(max(0.0, until - perf_counter()))


def _flush(provider: _Flushing) -> None:
    threads.enter()
    provider.force_flush(int(FLUSH_S * 1000))
