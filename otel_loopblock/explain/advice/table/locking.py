"""Locks of files, retries, and bridges from threads to the loop."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "filelock.*",
        "lock",
        "Use filelock.AsyncFileLock(path): async with lock.",
        "https://py-filelock.readthedocs.io/en/latest/",
        "2026-11",
    ),
    *known_calls(
        "portalocker.*",
        "lock",
        "Take the lock in a thread: await asyncio.to_thread(lock.acquire).",
        "https://portalocker.readthedocs.io/en/latest/",
        "2026-11",
    ),
    *known_calls(
        "fasteners.*",
        "lock",
        f"Take the lock in a thread: {IN_THREAD}.",
        "https://fasteners.readthedocs.io/en/latest/",
        "2026-11",
    ),
    *known_calls(
        "tenacity.*",
        "sleep",
        "Decorate an async def with tenacity.retry(...), or use async for in tenacity.AsyncRetrying(...).",
        "https://tenacity.readthedocs.io/en/latest/",
        "2026-11",
    ),
    *known_calls(
        "backoff.*",
        "sleep",
        "Decorate an async def with backoff.on_exception(...): it then waits without blocking.",
        "https://github.com/litl/backoff",
        "2026-11",
    ),
    *known_calls(
        "retrying.* retry.* retry.api.*",
        "sleep",
        "Use tenacity.retry(...) on an async def: it then waits without blocking.",
        "https://tenacity.readthedocs.io/en/latest/",
        "2026-11",
    ),
    *known_calls(
        "asgiref.sync.AsyncToSync.* asgiref.sync.async_to_sync asgiref.local.*",
        "lock",
        "Await the coroutine itself; asgiref.sync.async_to_sync(f) is for code that runs in a thread.",
        "https://github.com/django/asgiref",
        "2026-11",
    ),
    *known_calls(
        "anyio.from_thread.*",
        "lock",
        "Await it itself; anyio.from_thread.run(f) is for code that runs in a thread.",
        "https://anyio.readthedocs.io/en/stable/threads.html",
        "2026-11",
    ),
)
