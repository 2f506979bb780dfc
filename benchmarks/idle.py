"""What an idle loop costs with the package on: CPU of the process, and whether anything was reported.

python benchmarks/idle.py [--seconds 30] [--threshold-ms 10]
"""

from __future__ import annotations

import argparse
import asyncio
import time

import uvloop
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console
from rich.table import Table

from otel_loopblock import LoopBlockInstrumentor


def idle(loop: asyncio.AbstractEventLoop, seconds: float) -> float:
    """Let the loop wait; the CPU time of the process, as a share of a core."""
    loop.run_until_complete(asyncio.sleep(0.5))
    wall, cpu = time.perf_counter(), time.process_time()
    loop.run_until_complete(asyncio.sleep(seconds))
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--threshold-ms", type=float, default=10)
    args = parser.parse_args()
    table = Table(title=f"an idle loop for {args.seconds:g} s, threshold {args.threshold_ms:g} ms")
    for column in ("loop", "CPU off", "CPU on", "spans", "blocks", "lag records", "longest lag ms"):
        table.add_column(column, justify="right")
    for kind, new_loop in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
        loop = new_loop()
        off = idle(loop, args.seconds / 3)
        loop.close()
        exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
        tracer_provider = TracerProvider()
        tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
        LoopBlockInstrumentor().instrument(
            threshold_ms=args.threshold_ms,
            tracer_provider=tracer_provider,
            meter_provider=MeterProvider([reader]),
        )
        loop = new_loop()
        on = idle(loop, args.seconds)
        data = reader.get_metrics_data()
        assert data is not None
        points = {
            metric.name: metric.data.data_points
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        LoopBlockInstrumentor().uninstrument()
        loop.close()
        (lag,) = points["event_loop.lag"]
        blocks = sum(getattr(point, "count", 0) for point in points.get("event_loop.block.duration", ()))
        table.add_row(
            kind,
            f"{off:.2%}",
            f"{on:.2%}",
            str(len(exporter.get_finished_spans())),
            str(blocks),
            str(getattr(lag, "count", 0)),
            f"{getattr(lag, 'max', 0) * 1000:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
