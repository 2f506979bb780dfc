"""What a measurement of parallelism found, as a record and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["releases_gil", "holds_gil", "mixed", "waits", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelismReport:
    """Whether a function gains from threads. Times in seconds, medians over the runs.

    ``str()`` of it is the report for people.
    """

    function: str
    verdict: Verdict
    """``releases_gil``: computes without the GIL. ``holds_gil``: computes (or waits) with it. ``waits``:
    uses hardly any CPU and leaves the GIL alone. ``mixed``: some of each, or threads get in each other's
    way although the GIL is free. ``inconclusive``: the evidence does not suffice, ``reason`` says why."""
    reason: str
    """The evidence, in a sentence."""
    advice: str
    """What follows: a thread, a process, or measuring again."""
    workers: int
    """Threads in the parallel runs."""
    calls: int
    """Calls per thread and run."""
    runs: int
    """How often single and parallel run were repeated; 0 if not even one ended in time."""
    single_wall_s: float
    """One call in one thread."""
    parallel_wall_s: float
    """``workers`` calls at once, until the last is done."""
    speed_up: float
    """``workers * single_wall_s / parallel_wall_s``; 1 means that the threads took turns."""
    capacity: float
    """The speed-up that code without the GIL got from as many threads on this machine, in between."""
    parallel_share: float | None
    """From 0 (the threads took turns) to 1 (as parallel as code without the GIL), what the machine took
    away left out; ``None`` where the machine had too little to spare to tell."""
    gil_share: float
    """Share of a single run in which the GIL was held, 0 to 1, as a probe thread saw it."""
    cpu_share: float
    """CPU time of the calling thread per time in a single run, waiting for a CPU left out, 0 to 1."""
    thread_cpu_s: tuple[float, ...]
    """CPU time per call of each thread of the last parallel run (``time.thread_time``)."""
    own_threads: bool
    """Whether the function itself put other threads to work, as BLAS does."""

    def __str__(self) -> str:
        """Several lines for people."""
        lines = [f"{self.function}: {self.verdict}", f"  {self.reason}", f"  {self.advice}"]
        if self.runs:
            cpu = ", ".join(_time(value) for value in self.thread_cpu_s)
            lines += [
                f"  one call takes {_time(self.single_wall_s)}; {self.workers} calls at once, each in a "
                f"thread of its own, take {_time(self.parallel_wall_s)} together",
                f"  speed-up {self.speed_up:.2f}: 1 if the threads take turns; code that computes without "
                f"the GIL reached {self.capacity:.2f} on this machine meanwhile",
                f"  GIL held {self.gil_share:.0%} of the time that a call takes: so long no other thread "
                "runs Python, that of an event loop included",
                f"  CPU used {self.cpu_share:.0%} of that time, the rest is waiting; per call, in each "
                f"thread: {cpu}",
                f"  medians of {self.runs} runs of {self.calls} calls per thread",
            ]
        return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e6:.3g} µs"
