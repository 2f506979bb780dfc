"""From figures to a verdict: pure functions, and the limits they use.

Three pieces of evidence must fit together: the probe's view of the GIL, CPU time, and how parallel the
threads really were. Where they contradict each other, or the same measurement of code known to be free
of the GIL went wrong, the verdict is ``inconclusive``.
"""

from __future__ import annotations

from dataclasses import dataclass

from otel_loopblock.testing.threads.parallelism.report import Verdict

LOW, HIGH = 0.25, 0.75
"""Below and above these a share counts as "none" and "all"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Medians over the runs; shares from 0 to 1."""

    workers: int
    gil_share: float
    gil_spread: float
    """Distance between the quartiles of ``gil_share`` over the runs."""
    cpu_share: float
    parallel_share: float | None
    """0: took turns, 1: as parallel as code without the GIL; ``None``: the machine could not show it."""
    others_share: float
    """CPU time of other threads of the process while the function ran in one thread, per time."""
    reference_gil_share: float
    """``gil_share`` as measured for code that is known to leave the GIL alone."""
    observed_s: float
    """Time of single runs, together."""

    @property
    def own_threads(self) -> bool:
        """Whether the function put other threads to work."""
        return self.others_share > 0.25


def judge(f: Figures) -> tuple[Verdict, str, str]:
    """Verdict, reason and advice."""
    if f.reference_gil_share > LOW:
        return _inconclusive(
            f"the GIL was held {f.reference_gil_share:.0%} of the time while code ran that does not need it:"
            " by another thread of this process, or the machine is too busy"
        )
    if f.observed_s < 0.15:
        return _inconclusive(f"only {f.observed_s * 1e3:.0f} ms could be observed")
    if f.gil_spread > 0.4:
        return _inconclusive(f"the runs differ: the GIL's share varies by {f.gil_spread:.0%}")
    if f.gil_share >= HIGH:
        return _holding(f)
    if f.gil_share > LOW:
        return _mixed(f)
    if f.cpu_share <= LOW:
        return _waiting(f)
    if f.cpu_share < HIGH:
        return _mixed(f)
    return _computing(f)


def _holding(f: Figures) -> tuple[Verdict, str, str]:
    what = f"the GIL was held {f.gil_share:.0%} of the time"
    if f.parallel_share is None:
        return _inconclusive(f"{what}, but the machine had too little to spare to confirm it with threads")
    if f.parallel_share > 0.4:
        return _inconclusive(f"{what}, and yet the threads ran in parallel ({f.parallel_share:.0%})")
    return (
        "holds_gil",
        f"{what}, and {f.workers} threads took turns",
        "A thread does not help, the loop would wait for the GIL; use a process"
        " (loop.run_in_executor with a ProcessPoolExecutor), or a task queue.",
    )


def _waiting(f: Figures) -> tuple[Verdict, str, str]:
    reason = f"it used the CPU {f.cpu_share:.0%} of the time and left the GIL alone"
    if f.parallel_share is not None and f.parallel_share < 0.5:
        return (
            "waits",
            f"{reason}; calls in {f.workers} threads waited for each other",
            "A thread (asyncio.to_thread) frees the loop, but more threads do no more work: the calls"
            " share a lock or a connection.",
        )
    return (
        "waits",
        f"{reason}; {f.workers} threads waited at the same time",
        "A thread pool helps (asyncio.to_thread, or a plain def endpoint in FastAPI), for as many calls"
        " at once as the pool has threads; an async library needs none.",
    )


def _computing(f: Figures) -> tuple[Verdict, str, str]:
    reason = f"it computed ({f.cpu_share:.0%} CPU) and the GIL was held {f.gil_share:.0%} of the time"
    if f.own_threads:
        return (
            "releases_gil",
            f"{reason}; it put threads of its own to work as well",
            "A thread (asyncio.to_thread) frees the loop. Since the function already uses several CPUs by"
            " itself, more calls at once share the same CPUs.",
        )
    if f.parallel_share is None:
        return _inconclusive(f"{reason}, but the machine had too little to spare to confirm it with threads")
    if f.parallel_share >= 0.6:
        return (
            "releases_gil",
            f"{reason}; {f.workers} threads ran in parallel",
            "A thread pool helps (asyncio.to_thread, or a plain def endpoint in FastAPI): the loop stays"
            " free, and as many calls run at once as there are CPUs.",
        )
    if f.parallel_share > 0.4 or f.others_share > 0.08:
        return _inconclusive(f"{reason}, but only {f.parallel_share:.0%} of the threads' work was parallel")
    return (
        "mixed",
        f"{reason}, and yet {f.workers} threads mostly took turns",
        "A thread (asyncio.to_thread) frees the loop, but more threads hardly do more work: the calls share"
        " a lock, the memory's bandwidth, or take the GIL very often for very short.",
    )


def _mixed(f: Figures) -> tuple[Verdict, str, str]:
    parts = f"the GIL was held {f.gil_share:.0%} of the time, CPU {f.cpu_share:.0%}"
    if f.gil_share <= LOW:
        return (
            "mixed",
            f"{parts}: it waits and computes, the GIL free",
            "A thread pool helps (asyncio.to_thread, or a plain def endpoint in FastAPI).",
        )
    return (
        "mixed",
        parts,
        f"A thread helps in part: the loop still waits for the GIL, and about {1 / f.gil_share:.1f} threads"
        " use it up. Move the part that holds it to a process, or all of it.",
    )


def _inconclusive(reason: str) -> tuple[Verdict, str, str]:
    return (
        "inconclusive",
        reason,
        "Measure again with nothing else running in this process or on the machine, or with more time.",
    )
