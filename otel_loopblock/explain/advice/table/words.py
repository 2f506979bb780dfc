"""What the entries share: addresses, turns of phrase, and how several names share a sentence."""

from __future__ import annotations

from typing import Final

from otel_loopblock.explain.advice.known import Kind, KnownCall

PY: Final = "https://docs.python.org/3/library/"
THREAD: Final = f"{PY}asyncio-task.html#asyncio.to_thread"
IN_THREAD: Final = "await asyncio.to_thread(...) (FastAPI: run_in_threadpool)"
NO_THREAD: Final = "a thread would not help"
POOLS: Final = "https://docs.python.org/3/library/concurrent.futures.html#processpoolexecutor"


def known_calls(
    patterns: str,
    kind: Kind,
    instead: str,
    source: str,
    checked: str = "",
    *,
    releases_gil: bool | None = None,
    low_level: bool = False,
) -> tuple[KnownCall, ...]:
    """One record per name: several names of one thing share the sentence."""
    return tuple(
        KnownCall(pattern, instead, kind, releases_gil, source, checked, low_level)
        for pattern in patterns.split()
    )
