"""Python's own calls that wait: for time, a lock, another thread or a process."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, PY, THREAD, known_calls

_SYNC = f"{PY}asyncio-sync.html"
_EXECUTOR = f"{PY}asyncio-eventloop.html#asyncio.loop.run_in_executor"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "time.sleep",
        "sleep",
        "Use await asyncio.sleep(...).",
        f"{PY}asyncio-task.html#sleeping",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "signal.pause signal.sigwait* signal.sigtimedwait",
        "sleep",
        "Use loop.add_signal_handler(...) and an asyncio.Event.",
        f"{PY}asyncio-eventloop.html#unix-signals",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "input getpass.getpass getpass.unix_getpass",
        "input",
        f"Read the terminal in a thread: {IN_THREAD}.",
        THREAD,
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "threading.Lock.acquire _thread.lock.acquire threading.RLock.acquire threading._RLock.acquire "
        "_thread.RLock.acquire",
        "lock",
        "Use asyncio.Lock between tasks, or take this lock in a thread: await "
        "asyncio.to_thread(lock.acquire).",
        f"{_SYNC}#lock",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Event.wait",
        "lock",
        "Use asyncio.Event, set from other threads by loop.call_soon_threadsafe(event.set).",
        f"{_SYNC}#event",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Condition.wait threading.Condition.wait_for threading.Condition.__enter__",
        "lock",
        "Use asyncio.Condition, or wait in a thread: await asyncio.to_thread(...).",
        f"{_SYNC}#condition",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Semaphore.acquire threading.Semaphore.__enter__ threading.BoundedSemaphore.acquire",
        "lock",
        "Use asyncio.Semaphore: async with semaphore.",
        f"{_SYNC}#semaphore",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Barrier.wait",
        "lock",
        "Use asyncio.Barrier (Python 3.11), or wait in a thread: await asyncio.to_thread(...).",
        f"{_SYNC}#barrier",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Thread.join",
        "lock",
        "Start the work by await asyncio.to_thread(...) instead of a thread that is joined.",
        THREAD,
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.wait threading.join threading.acquire",
        "lock",
        "Use the asyncio counterpart (Lock, Event ...), or wait in a thread: await asyncio.to_thread(...).",
        _SYNC,
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "queue.Queue.get queue.Queue.put queue.Queue.join queue.SimpleQueue.get _queue.SimpleQueue.get "
        "queue.get queue.put queue.join",
        "lock",
        "Use asyncio.Queue; threads put by loop.call_soon_threadsafe(queue.put_nowait, item).",
        f"{PY}asyncio-queue.html",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "concurrent.futures.Future.result concurrent.futures.Future.exception "
        "concurrent.futures._base.Future.result concurrent.futures._base.Future.exception "
        "concurrent.futures._base.result "
        "concurrent.futures._base.exception",
        "lock",
        "Use await asyncio.wrap_future(future); waiting here for what must run on this loop never ends.",
        f"{PY}asyncio-future.html#asyncio.wrap_future",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "concurrent.futures.wait concurrent.futures.as_completed concurrent.futures._base.wait "
        "concurrent.futures._base.as_completed",
        "lock",
        "Wrap each future by asyncio.wrap_future(future), then await asyncio.wait(...) or "
        "asyncio.gather(...).",
        f"{PY}asyncio-future.html#asyncio.wrap_future",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "concurrent.futures.*.map concurrent.futures.*.map.* concurrent.futures._base.result_iterator "
        "concurrent.futures._base._result_or_cancel",
        "lock",
        "Use await asyncio.gather(*(loop.run_in_executor(pool, f, x) for x in items)) instead of "
        "pool.map(f, items).",
        _EXECUTOR,
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "concurrent.futures.*.shutdown concurrent.futures.*.__exit__",
        "lock",
        "Keep the pool for the life of the process, or close it by pool.shutdown(wait=False).",
        f"{PY}concurrent.futures.html#concurrent.futures.Executor.shutdown",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "multiprocessing.*",
        "process",
        "Use await loop.run_in_executor(concurrent.futures.ProcessPoolExecutor(), ...), kept for all calls.",
        _EXECUTOR,
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "multiprocessing.pool.AsyncResult.* multiprocessing.pool.MapResult.*",
        "process",
        "Use await loop.run_in_executor(pool, f, x), with a concurrent.futures.ProcessPoolExecutor as pool.",
        _EXECUTOR,
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "asyncio.run_coroutine_threadsafe",
        "lock",
        "On the loop's own thread await the coroutine itself, or keep it by asyncio.create_task(...).",
        f"{PY}asyncio-task.html#asyncio.run_coroutine_threadsafe",
        "2026-11",
        low_level=True,
    ),
)
