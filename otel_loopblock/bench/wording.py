"""Figures as words, the same in the terminal and in the HTML report."""

from __future__ import annotations

from otel_loopblock.local.statistics import Histogram


def milliseconds(seconds: float) -> str:
    """``1.23 ms``, ``12.3 ms``, ``123 ms``, ``1.23 s``."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def buckets(histogram: Histogram) -> list[tuple[str, int]]:
    """Name and count of each bucket up to the last one that has any."""
    names = [f"≤ {milliseconds(bound)}" for bound in histogram.bounds]
    names.append(f"> {milliseconds(histogram.bounds[-1])}")
    last = max((i for i, count in enumerate(histogram.counts) if count), default=-1)
    return list(zip(names, histogram.counts, strict=True))[: last + 1]
