"""Quantiles, and what a cumulative histogram gained between two moments."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_loopblock.local.telemetry import Metric


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` of them do not exceed.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts by bucket; ``counts`` is one longer than ``bounds``, the last bucket has no upper bound."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float
    """Of all values."""

    @property
    def count(self) -> int:
        """Of all buckets."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Of all values; 0 without values."""
        return self.sum / self.count if self.count else 0.0


def histogram_between(
    metrics: Iterable[Metric], name: str, started_unix_ns: int, ended_unix_ns: int
) -> Histogram | None:
    """What the exports say was added between two moments, whatever the attributes.

    Args:
        metrics: what was received; cumulative.
        name: of the metric.
        started_unix_ns: the first export at or after this moment is where counting starts.
        ended_unix_ns: the first export at or after this moment is where it ends.

    Returns:
        ``None`` where there is no export for one of the two.
    """
    exports = sorted(
        (metric for metric in metrics if metric.name == name and metric.points), key=_exported_unix_ns
    )
    first = next((metric for metric in exports if _exported_unix_ns(metric) >= started_unix_ns), None)
    last = next((metric for metric in exports if _exported_unix_ns(metric) >= ended_unix_ns), None)
    if first is None or last is None:
        return None
    return Histogram(
        bounds=last.points[0].bounds,
        counts=tuple(now - then for now, then in zip(_counts(last), _counts(first), strict=True)),
        sum=_sum(last) - _sum(first),
    )


def _exported_unix_ns(metric: Metric) -> int:
    return max(point.time_unix_ns for point in metric.points)


def _counts(metric: Metric) -> list[int]:
    return [sum(counts) for counts in zip(*(point.bucket_counts for point in metric.points), strict=True)]


def _sum(metric: Metric) -> float:
    return sum(point.sum for point in metric.points)
