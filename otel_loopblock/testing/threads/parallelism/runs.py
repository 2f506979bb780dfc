"""One function, run in one thread and in several: how long it took, and what the clocks say.

Knows nothing of verdicts.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from otel_loopblock.testing.threads.parallelism.clocks import ThreadClock
from otel_loopblock.testing.threads.parallelism.probe import GilProbe

Work = Callable[[], object]


class NotDone(Exception):
    """The work did not end in time; its threads are left to themselves."""


@dataclass(frozen=True, slots=True)
class ThreadRun:
    """What one thread did: ``calls`` calls. Times in seconds."""

    start: float
    end: float
    cpu_s: float
    delay_s: float | None
    """Ready to run but without a CPU; ``None`` where that is not known."""
    early_delay_s: float
    """The same, between the common start of all threads and that of this one."""

    @property
    def wall_s(self) -> float:
        """From start to end."""
        return self.end - self.start

    @property
    def own_s(self) -> float:
        """Wall time without what the machine took away: computing, waiting, waiting for the GIL."""
        return max(1e-9, self.wall_s - (self.delay_s or 0.0))


@dataclass(frozen=True, slots=True)
class Single:
    """A run in one thread, with the probe beside it."""

    run: ThreadRun
    gil_share: float
    others_cpu_s: float
    """CPU time of all other threads of the process, the probe left out."""


@dataclass(frozen=True, slots=True)
class Parallel:
    """The same run in several threads at once."""

    runs: tuple[ThreadRun, ...]

    @property
    def start(self) -> float:
        """The common start: threads that started later had to wait, for a CPU or for the GIL."""
        return min(run.start for run in self.runs)

    @property
    def wall_s(self) -> float:
        """From the common start to the last end."""
        return max(run.end for run in self.runs) - self.start

    @property
    def own_s(self) -> float:
        """From the common start to the last end, without what the machine took away."""
        taken = (min(run.early_delay_s, run.start - self.start) + (run.delay_s or 0.0) for run in self.runs)
        ends = (run.end - self.start for run in self.runs)
        return max(1e-9, *(end - delay for end, delay in zip(ends, taken, strict=True)))


@dataclass(frozen=True, slots=True)
class Pair:
    """One function once alone and once in parallel, shortly after each other."""

    single: Single
    parallel: Parallel

    @property
    def speed_up(self) -> float:
        """How many times the work of one thread got done per time, as the clock on the wall says."""
        return len(self.parallel.runs) * self.single.run.wall_s / max(1e-9, self.parallel.wall_s)

    @property
    def potential(self) -> float:
        """The speed-up without what a busy machine took away: 1 if the threads only took turns."""
        return len(self.parallel.runs) * self.single.run.own_s / self.parallel.own_s


def run_single(work: Work, calls: int, deadline: float) -> Single:
    """Run ``work`` ``calls`` times in one thread.

    Raises:
        NotDone: it did not end by ``deadline`` (``perf_counter``).
        Exception: what ``work`` raised.
    """
    with GilProbe() as probe:
        process_cpu = time.process_time()
        (run,) = _run_threads(work, calls, 1, deadline)
        process_cpu = time.process_time() - process_cpu
        time.sleep(0)
    return Single(run, probe.held_share(run.start, run.end), max(0.0, process_cpu - run.cpu_s - probe.cpu_s))


def run_parallel(work: Work, calls: int, workers: int, deadline: float) -> Parallel:
    """Run ``work`` ``calls`` times in each of ``workers`` threads; raises as :func:`run_single`."""
    return Parallel(tuple(_run_threads(work, calls, workers, deadline)))


class _Threads:
    """Threads that begin together and can be given up."""

    def __init__(self, work: Work, calls: int, workers: int) -> None:
        self.work = work
        self.calls = calls
        self.barrier = threading.Barrier(workers + 1)
        self.finished = threading.Semaphore(0)
        self.runs: list[ThreadRun] = []
        self.errors: list[BaseException] = []
        self.abandoned = False

    def thread(self) -> None:
        clock = ThreadClock()
        work = self.work
        try:
            before = clock.delay_s()
            self.barrier.wait()
            delay, cpu = clock.delay_s(), clock.cpu_s()
            start = perf_counter()
            for _ in range(self.calls):
                work()
                if self.abandoned:
                    return
            end = perf_counter()
            cpu = clock.cpu_s() - cpu
            delay_end = clock.delay_s()
            if before is None or delay is None or delay_end is None:
                self.runs.append(ThreadRun(start, end, cpu, None, 0.0))
            else:
                self.runs.append(ThreadRun(start, end, cpu, delay_end - delay, delay - before))
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:  # handed to the caller
            self.errors.append(error)
        finally:
            clock.close()
            self.finished.release()


def _run_threads(work: Work, calls: int, workers: int, deadline: float) -> list[ThreadRun]:
    threads = _Threads(work, calls, workers)
    started = 0
    try:
        for number in range(workers):
            context = contextvars.copy_context()
            threading.Thread(
                target=context.run,
                args=(threads.thread,),
                name=f"otel-loopblock-measured-{number}",
                daemon=True,  # one that never ends must not keep the process
            ).start()
            started += 1
        threads.barrier.wait()
        for _ in range(workers):
            if not threads.finished.acquire(timeout=max(0.0, deadline - perf_counter())):
                raise NotDone
    except BaseException:
        threads.abandoned = True
        if started < workers:
            threads.barrier.abort()
        raise
    if threads.errors:
        raise threads.errors[0]
    return threads.runs
