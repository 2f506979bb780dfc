"""What the server's instrumentation exported between two moments: lag of the loop, blocks by culprit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from otel_loopblock.bench.results import Blocks
from otel_loopblock.local.statistics import Histogram
from otel_loopblock.local.telemetry import Attributes, Metric, Point

LAG = "event_loop.lag"
BLOCK_DURATION = "event_loop.block.duration"

Key = tuple[str, ...]


def exported_after(metrics: Iterable[Metric], unix_ns: int) -> bool:
    """Whether the lag was exported at or after a moment."""
    return any(metric.name == LAG and _exported(metric) >= unix_ns for metric in metrics)


def lag_between(metrics: Sequence[Metric], started_unix_ns: int, ended_unix_ns: int) -> Histogram | None:
    """Histogram of the loop's lag; ``None`` where nothing was exported at or after the end."""
    gained = _gained(metrics, LAG, started_unix_ns, ended_unix_ns, lambda attributes: ())
    return gained.get(()) if gained else None


def blocks_between(metrics: Sequence[Metric], started_unix_ns: int, ended_unix_ns: int) -> tuple[Blocks, ...]:
    """Blocks by culprit and cause, the longest in all first."""
    gained = _gained(metrics, BLOCK_DURATION, started_unix_ns, ended_unix_ns, _culprit)
    found = (
        Blocks(function=function, cause=cause, count=histogram.count, total_s=histogram.sum)
        for (function, cause), histogram in gained.items()
        if histogram.count
    )
    return tuple(sorted(found, key=lambda blocks: -blocks.total_s))


def _culprit(attributes: Attributes) -> Key:
    return (
        str(attributes.get("code.function.name", "unknown")),
        str(attributes.get("event_loop.block.cause", "unknown")),
    )


def _gained(
    metrics: Sequence[Metric],
    name: str,
    started_unix_ns: int,
    ended_unix_ns: int,
    key_of: Callable[[Attributes], Key],
) -> dict[Key, Histogram]:
    """The counts are cumulative: the first export after the end, less the last one before the start."""
    exports = sorted((metric for metric in metrics if metric.name == name and metric.points), key=_exported)
    end = next((metric for metric in exports if _exported(metric) >= ended_unix_ns), None)
    if end is None:
        return {}
    before = next((metric for metric in reversed(exports) if _exported(metric) <= started_unix_ns), None)
    then = _by_key(before.points if before is not None else (), key_of)
    found = {}
    for key, (counts, total) in _by_key(end.points, key_of).items():
        old_counts, old_total = then.get(key, ([0] * len(counts), 0.0))
        found[key] = Histogram(
            bounds=end.points[0].bounds,
            counts=tuple(now - old for now, old in zip(counts, old_counts, strict=True)),
            sum=total - old_total,
        )
    return found


def _by_key(
    points: Sequence[Point], key_of: Callable[[Attributes], Key]
) -> dict[Key, tuple[list[int], float]]:
    found: dict[Key, tuple[list[int], float]] = {}
    for point in points:
        key = key_of(point.attributes)
        counts, total = found.get(key, ([0] * len(point.bucket_counts), 0.0))
        added = [one + other for one, other in zip(counts, point.bucket_counts, strict=True)]
        found[key] = (added, total + point.sum)
    return found


def _exported(metric: Metric) -> int:
    return max((point.time_unix_ns for point in metric.points), default=0)
