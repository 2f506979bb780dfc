"""The thread pools behind a loop: its default executor, and anyio's threads (`def` endpoints of FastAPI).

Read from any thread, by looking only: nothing is created, locked or patched. The libraries do not show all of
this in public; where a private name is missing, that pool is not reported.
"""

from __future__ import annotations

import asyncio
import gc
import math
import sys
from concurrent.futures import ThreadPoolExecutor, thread
from dataclasses import dataclass
from typing import Any, Literal

from otel_loopblock import guard
from otel_loopblock.frames import codes_run


@dataclass(frozen=True, slots=True)
class Pool:
    """One thread pool at one moment."""

    kind: Literal["default", "anyio"]
    threads: int
    """Threads alive, idle ones included."""
    queue: int
    """Calls that wait for a thread."""
    utilization: float | None
    """Busy threads per threads allowed, 0 to 1; ``None`` where there is no limit, or it cannot be told."""


def pools_of(loop: asyncio.AbstractEventLoop) -> list[Pool]:
    """The thread pools of ``loop`` that are in use; those that nobody has used yet are left out."""
    found = []
    for look in (_of_default, _of_anyio):
        try:
            pool = look(loop)
        except Exception:
            guard.failed("look at a thread pool")
        else:
            if pool is not None:
                found.append(pool)
    return found


def default_executor(loop: asyncio.AbstractEventLoop) -> ThreadPoolExecutor | None:
    """What ``run_in_executor(None, …)`` and ``asyncio.to_thread`` use on ``loop``; ``None``: not made yet."""
    try:
        found = loop._default_executor  # type: ignore[attr-defined]
    except AttributeError:
        # uvloop keeps it in C. The garbage collector can name what an object refers to, anybody's.
        own = {id(value) for value in vars(loop).values()} if hasattr(loop, "__dict__") else set()
        found = next(
            (
                value
                for value in gc.get_referents(loop)
                if isinstance(value, ThreadPoolExecutor) and id(value) not in own
            ),
            None,
        )
    return found if isinstance(found, ThreadPoolExecutor) else None


def _of_default(loop: asyncio.AbstractEventLoop) -> Pool | None:
    executor: Any = default_executor(loop)
    if executor is None or executor._shutdown:
        return None
    workers = list(executor._threads)
    queue = executor._work_queue.qsize()
    if type(executor)._adjust_thread_count is not ThreadPoolExecutor._adjust_thread_count:
        return Pool("default", len(workers), queue, None)  # its threads may wait elsewhere
    # The executor counts its idle threads, but up to Python 3.11 it counts too many after each backlog.
    # An idle one stands in the worker function itself: what it waits in is written in C.
    codes = codes_run()
    idle = sum(codes.get(worker.ident) is thread._worker.__code__ for worker in workers)
    busy = min(len(workers), len(workers) - idle + queue)
    return Pool("default", len(workers), queue, busy / executor._max_workers)


def _of_anyio(loop: asyncio.AbstractEventLoop) -> Pool | None:
    lowlevel = sys.modules.get("anyio.lowlevel")
    if lowlevel is None:
        return None
    variables = lowlevel._run_vars.get(loop)
    if not variables:
        return None
    # Older versions use the name as the key. The copy is taken at once: the loop may be adding to it.
    values = {getattr(key, "_name", key): value for key, value in list(variables.items())}
    limiter = values.get("_default_thread_limiter")
    if limiter is None:
        return None
    state = limiter.statistics()
    workers = values.get("_threadpool_workers")
    threads = len(workers) if workers is not None else state.borrowed_tokens
    total = state.total_tokens
    utilization = min(1.0, state.borrowed_tokens / total) if math.isfinite(total) and total > 0 else None
    return Pool("anyio", threads, state.tasks_waiting, utilization)
