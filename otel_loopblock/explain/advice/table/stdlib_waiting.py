"""Python's own calls that wait: for time, a lock, another thread or a process."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, PY, THREAD, known_calls

_PROCESS = f"{PY}asyncio-subprocess.html"
_SYNC = f"{PY}asyncio-sync.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "time.sleep",
        "sleep",
        "Use await asyncio.sleep(...).",
        f"{PY}asyncio-task.html#sleeping",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "signal.pause signal.sigwait* signal.sigtimedwait",
        "sleep",
        "Use loop.add_signal_handler(...) and an asyncio.Event.",
        f"{PY}asyncio-eventloop.html#unix-signals",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "input getpass.*", "input", f"Read the terminal in a thread: {IN_THREAD}.", THREAD, low_level=True
    ),
    *known_calls(
        "threading.Lock.acquire _thread.lock.acquire threading.RLock.acquire threading._RLock.acquire "
        "_thread.RLock.acquire",
        "lock",
        "Use asyncio.Lock between tasks, or take this lock in a thread: await asyncio.to_thread(...).",
        f"{_SYNC}#lock",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Event.*",
        "lock",
        "Use asyncio.Event, set from other threads by loop.call_soon_threadsafe(event.set).",
        f"{_SYNC}#event",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Condition.*",
        "lock",
        "Use asyncio.Condition, or wait in a thread: await asyncio.to_thread(...).",
        f"{_SYNC}#condition",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Semaphore.* threading.BoundedSemaphore.*",
        "lock",
        "Use asyncio.Semaphore.",
        f"{_SYNC}#semaphore",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Barrier.*",
        "lock",
        "Use asyncio.Barrier (Python 3.11), or wait in a thread: await asyncio.to_thread(...).",
        f"{_SYNC}#barrier",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.Thread.join",
        "lock",
        "Start the work by await asyncio.to_thread(...) instead of a thread that is joined.",
        THREAD,
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "threading.wait threading.join threading.acquire",
        "lock",
        "Use the asyncio counterpart (Lock, Event ...), or wait in a thread: await asyncio.to_thread(...).",
        _SYNC,
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "queue.* _queue.SimpleQueue.get",
        "lock",
        "Use asyncio.Queue; other threads put by loop.call_soon_threadsafe(queue.put_nowait, item).",
        f"{PY}asyncio-queue.html",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "concurrent.futures.Future.result concurrent.futures._base.Future.* concurrent.futures._base.result "
        "concurrent.futures._base.exception",
        "lock",
        "Use await asyncio.wrap_future(future); waiting here for what must run on this loop never ends.",
        f"{PY}asyncio-future.html#asyncio.wrap_future",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "concurrent.futures.wait concurrent.futures.as_completed concurrent.futures._base.wait "
        "concurrent.futures._base.as_completed",
        "lock",
        "Wrap the futures by asyncio.wrap_future and await asyncio.wait(...) or asyncio.gather(...).",
        f"{PY}asyncio-future.html#asyncio.wrap_future",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "concurrent.futures.*.shutdown concurrent.futures.*.map",
        "lock",
        "Use await loop.run_in_executor(pool, ...); close the pool in a thread or with shutdown(wait=False).",
        f"{PY}asyncio-eventloop.html#asyncio.loop.run_in_executor",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "multiprocessing.*",
        "process",
        "Use await loop.run_in_executor(ProcessPoolExecutor(), ...), or talk to the process from a thread.",
        f"{PY}asyncio-eventloop.html#asyncio.loop.run_in_executor",
        low_level=True,
    ),
    *known_calls(
        "asyncio.run_coroutine_threadsafe",
        "lock",
        "On the loop's own thread await the coroutine itself, or keep it by asyncio.create_task(...).",
        f"{PY}asyncio-task.html#asyncio.run_coroutine_threadsafe",
        low_level=True,
    ),
    *known_calls(
        "subprocess.* subprocess.run subprocess.call subprocess.check_call subprocess.check_output",
        "process",
        "Use await asyncio.create_subprocess_exec(...), then await process.communicate().",
        f"{_PROCESS}#asyncio.create_subprocess_exec",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "subprocess.Popen.wait subprocess.Popen.communicate",
        "process",
        "Use asyncio.create_subprocess_exec(...) and await its wait() or communicate().",
        f"{_PROCESS}#asyncio.subprocess.Process.communicate",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "os.system os.popen",
        "process",
        "Use await asyncio.create_subprocess_shell(...).",
        f"{_PROCESS}#asyncio.create_subprocess_shell",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "os.wait os.wait3 os.wait4 os.waitpid os.waitid",
        "process",
        "Start the child by asyncio.create_subprocess_exec(...) and await process.wait().",
        _PROCESS,
        releases_gil=True,
        low_level=True,
    ),
)
