"""What a benchmark found: plain records. Times in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from otel_loopblock.local.statistics import Histogram, quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Of the requests that were answered."""

    count: int
    p50_s: float
    p99_s: float
    max_s: float

    @classmethod
    def of(cls, latencies_s: Sequence[float]) -> Latency | None:
        """``None`` where nothing was answered."""
        if not latencies_s:
            return None
        return cls(
            count=len(latencies_s),
            p50_s=quantile(latencies_s, 0.5),
            p99_s=quantile(latencies_s, 0.99),
            max_s=max(latencies_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Blocks of the loop by one culprit, as the server's own instrumentation reported them."""

    function: str
    cause: str
    count: int
    total_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is asked of the server for a while."""

    target: str
    concurrency: int
    """Requests to the target in flight; 0: the probe alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one step came to."""

    step: Step
    seconds: float
    target: Latency | None
    throughput: float
    """Answers of the target per second."""
    target_errors: int
    probe: Latency | None
    """From the moment at which each request was due."""
    probe_errors: int
    first_error: str
    lag: Histogram | None
    """Of the server's loop; ``None`` if nothing was exported in time."""
    blocks: tuple[Blocks, ...]
    """Longest in all first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All stages on one loop."""

    app: str
    loop: str
    probe: str
    rate: float
    stages: tuple[Stage, ...]
