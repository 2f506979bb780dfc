"""Whether a function gains from threads: does it release the GIL, hold it, or wait?

The function runs in one thread and in several; in between, in the same minute and on the same machine,
code runs that is known not to need the GIL (``hashlib`` on a large buffer). Only the comparison counts.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import statistics
import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

from otel_loopblock.testing.threads.callables import name_of
from otel_loopblock.testing.threads.parallelism import verdict
from otel_loopblock.testing.threads.parallelism.report import ParallelismReport, Verdict
from otel_loopblock.testing.threads.parallelism.runs import NotDone, Pair, Work, run_parallel, run_single

__all__ = ["ParallelismReport", "Verdict", "assert_releases_gil", "measure_parallelism"]

RUN_S = 0.08
"""How long one thread works per run at least; shorter functions are called repeatedly."""

ROUNDS = 5

MAX_CALLS = 10_000_000

_BUFFER = bytes(2 * 1024 * 1024)


def measure_parallelism(
    fn: Callable[..., object],
    *args: Any,
    workers: int = 4,
    max_seconds: float = 20.0,
    **kwargs: Any,
) -> ParallelismReport:
    """Measure whether ``fn(*args, **kwargs)`` runs in parallel with itself in threads of this process.

    ``fn`` is called many times and in several threads at once: it must not mind. Run it with nothing else
    going on in the process.

    Args:
        fn: what would be offloaded: not a coroutine function.
        *args: its arguments.
        workers: threads in the parallel runs, at least 2.
        max_seconds: how long the measurement may take. A run that has not ended by then is left to itself
            in its thread, and the report is ``inconclusive``.
        **kwargs: its keyword arguments; bind those named as ours with ``functools.partial``.

    Returns:
        The report; its ``verdict`` is ``inconclusive`` where the evidence does not suffice.

    Raises:
        TypeError: ``fn`` is not callable, or is a coroutine function.
        ValueError: ``workers`` or ``max_seconds`` is out of range.
        Exception: whatever ``fn`` raises.
    """
    check(fn, workers, max_seconds)
    name = name_of(fn)
    deadline = perf_counter() + max_seconds
    work = functools.partial(fn, *args, **kwargs)
    calls = 0
    reference_calls = 0
    pairs: list[Pair] = []
    references: list[Pair] = []
    others_idle = 0.0
    try:
        others_idle = _others_share_at_rest()
        reference_calls = _calls_for(_reference, RUN_S / 2, deadline)
        calls = _calls_for(work, RUN_S, deadline)
        while len(pairs) < ROUNDS:
            began = perf_counter()
            single = run_single(work, calls, deadline)
            if perf_counter() + single.run.wall_s * workers > deadline:
                break  # as threads that take turns would need
            reference = Pair(
                run_single(_reference, reference_calls, deadline),
                run_parallel(_reference, reference_calls, workers, deadline),
            )
            pairs.append(Pair(single, run_parallel(work, calls, workers, deadline)))
            references.append(reference)
            now = perf_counter()
            if now + (now - began) > deadline:
                break
    except NotDone:
        pass
    if not pairs:
        return _not_done(name, workers, calls, max_seconds)
    return _report(name, workers, calls, pairs, references, others_idle)


def assert_releases_gil(
    fn: Callable[..., object],
    *args: Any,
    workers: int = 4,
    max_seconds: float = 20.0,
    **kwargs: Any,
) -> ParallelismReport:
    """Fail unless ``fn`` leaves the GIL to others, computing (``releases_gil``) or waiting (``waits``).

    Arguments and errors are those of :func:`measure_parallelism`. An inconclusive measurement is made once
    more; if it is inconclusive again, the assertion fails: it cannot vouch for ``fn``.

    Returns:
        The report.

    Raises:
        AssertionError: with the report as its message.
    """
    for _ in range(2):
        report = measure_parallelism(fn, *args, workers=workers, max_seconds=max_seconds, **kwargs)
        if report.verdict != "inconclusive":
            break
    if report.verdict not in ("releases_gil", "waits"):
        raise AssertionError(str(report))
    return report


def check(fn: object, workers: int, max_seconds: float) -> None:
    """Raise ``TypeError`` or ``ValueError`` for what :func:`measure_parallelism` cannot measure."""
    if not callable(fn):
        raise TypeError(f"{fn!r} is not callable")
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(
            f"{getattr(fn, '__qualname__', fn)} is a coroutine function: it runs on the loop's thread."
            " Measure the plain function that it would offload."
        )
    if workers < 2:
        raise ValueError(f"workers={workers!r} cannot be used; it must be at least 2")
    if not (math.isfinite(max_seconds) and max_seconds > 0):
        raise ValueError(f"max_seconds={max_seconds!r} cannot be used; it must be a finite number above 0")


def _reference() -> None:
    """Computes without the GIL, as hashlib does for more than 2047 bytes; little memory traffic."""
    hashlib.sha256(_BUFFER)


def _calls_for(work: Work, target_s: float, deadline: float) -> int:
    """How many calls fill ``target_s``."""
    calls = 1
    warm = False
    while True:
        run = run_single(work, calls, deadline).run
        # What the machine took away does not count as length.
        long_enough = run.own_s >= target_s / 4
        if long_enough and (warm or run.own_s >= 4 * target_s):
            return max(1, round(calls * target_s / run.own_s))
        if calls >= MAX_CALLS:
            return calls
        if long_enough:
            warm = True  # the first calls may have loaded or compiled something: once more
        else:
            calls *= 4


def _report(
    name: str, workers: int, calls: int, pairs: list[Pair], references: list[Pair], others_idle: float
) -> ParallelismReport:
    median = statistics.median
    gil_shares = [pair.single.gil_share for pair in pairs]
    quartiles = statistics.quantiles(gil_shares, n=4) if len(pairs) > 1 else [0.0, 0.0, 0.0]
    potential = median(pair.potential for pair in references)
    cpu_share = median(_cpu_share(pair, reference) for pair, reference in zip(pairs, references, strict=True))
    figures = verdict.Figures(
        workers=workers,
        gil_share=median(gil_shares),
        gil_spread=quartiles[2] - quartiles[0],
        cpu_share=cpu_share,
        parallel_share=_parallel_share(median(pair.potential for pair in pairs), potential),
        others_share=median(pair.single.others_cpu_s / pair.single.run.own_s for pair in pairs) - others_idle,
        reference_gil_share=median(pair.single.gil_share for pair in references),
        observed_s=sum(pair.single.run.own_s for pair in pairs),
    )
    word, reason, advice = verdict.judge(figures)
    return ParallelismReport(
        function=name,
        verdict=word,
        reason=reason,
        advice=advice,
        workers=workers,
        calls=calls,
        runs=len(pairs),
        single_wall_s=median(pair.single.run.wall_s for pair in pairs) / calls,
        parallel_wall_s=median(pair.parallel.wall_s for pair in pairs) / calls,
        speed_up=median(pair.speed_up for pair in pairs),
        capacity=median(pair.speed_up for pair in references),
        parallel_share=figures.parallel_share,
        gil_share=figures.gil_share,
        cpu_share=figures.cpu_share,
        thread_cpu_s=tuple(run.cpu_s / calls for run in pairs[-1].parallel.runs),
        own_threads=figures.own_threads,
    )


def _cpu_share(pair: Pair, reference: Pair) -> float:
    run = pair.single.run
    if run.delay_s is not None:
        return min(1.0, run.cpu_s / run.own_s)
    # Without that clock: code that only computes got this much of a CPU at the same time.
    known = reference.single.run
    return min(1.0, (run.cpu_s / run.wall_s) / max(0.01, known.cpu_s / known.wall_s))


def _others_share_at_rest() -> float:
    """CPU time per time that the process uses anyway."""
    time.sleep(0.1)  # BLAS lets its threads spin for a while after the last product
    began, cpu = perf_counter(), time.process_time()
    time.sleep(0.05)
    return (time.process_time() - cpu) / (perf_counter() - began)


def _parallel_share(potential: float, reference: float) -> float | None:
    if reference < 1.4:
        return None
    return min(1.0, max(0.0, (potential - 1) / (reference - 1)))


def _not_done(name: str, workers: int, calls: int, max_seconds: float) -> ParallelismReport:
    return ParallelismReport(
        function=name,
        verdict="inconclusive",
        reason=f"not even one run in one and in {workers} threads fits into {max_seconds:g} s",
        advice="Give it more time (max_seconds), fewer workers, or smaller arguments.",
        workers=workers,
        calls=calls,
        runs=0,
        single_wall_s=math.nan,
        parallel_wall_s=math.nan,
        speed_up=math.nan,
        capacity=math.nan,
        parallel_share=None,
        gil_share=math.nan,
        cpu_share=math.nan,
        thread_cpu_s=(),
        own_threads=False,
    )
