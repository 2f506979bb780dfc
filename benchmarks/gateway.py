"""What one gateway of deploy/collector/gateway.yaml carries: CPU and memory at a steady rate of traces.

    env $(deploy/e2e/build.sh) python benchmarks/gateway.py [--traces 500] [--seconds 60]

Traces of eight spans in two batches, as from two services, one in a hundred with a block, over OTLP/HTTP.
Behind the gateway stands a real Jaeger. CPU time and memory are the gateway's own, as the kernel counts them,
from when the first traces are decided on.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from pathlib import Path

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.e2e.stack import JAEGER, Binaries, gateway_program, jaeger_program  # noqa: E402
from tests.service.running import free_port  # noqa: E402

TRACE_ID = b"0123456789abcdef"
"""In the templates; each trace has its own in place of it."""
SPANS = 8
HERTZ = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def half(service: str, *, blocked: bool) -> bytes:
    """Half of a trace, as one service sends it; halves put together are one request."""
    began = time.time_ns()
    ids = [os.urandom(8) for _ in range(SPANS // 2)]
    spans = [
        Span(
            trace_id=TRACE_ID,
            span_id=span_id,
            parent_span_id=ids[number - 1] if number else b"",
            name=f"GET /orders/{{id}}/{number}",
            start_time_unix_nano=began,
            end_time_unix_nano=began + 20_000_000,
            attributes=[
                KeyValue(key=f"http.attribute.{key}", value=AnyValue(string_value="x" * 24))
                for key in range(8)
            ],
        )
        for number, span_id in enumerate(ids)
    ]
    if blocked:
        spans[0].attributes.append(KeyValue(key="event_loop.blocked", value=AnyValue(bool_value=True)))
    resource = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value=service)))
    return ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HERTZ


def resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def counted(url: str, name: str) -> float:
    """The sum of one of the gateway's own counters."""
    lines = httpx.get(url).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--traces", type=int, default=500, help="per second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured (default: %(default)g)")
    parser.add_argument("--wait", type=float, default=30.0, help="decision_wait (default: %(default)g)")
    args = parser.parse_args()
    binaries = Binaries.of_this_machine()
    at = {name: f"127.0.0.1:{free_port()}" for name in JAEGER}
    jaeger = jaeger_program(binaries, at)
    http, health, own = free_port(), free_port(), free_port()
    gateway = gateway_program(
        binaries, http=http, health=health, telemetry=own, jaeger=at["jaeger:4317"], wait_s=args.wait
    )
    plain = half("front", blocked=False), half("shop", blocked=False)
    blocked = half("front", blocked=False), half("shop", blocked=True)
    per_tick, tick_s = max(1, args.traces // 10), 0.1
    sent = 0
    jaeger.start()
    gateway.start()
    try:
        pid = gateway.pid
        with httpx.Client(headers={"Content-Type": "application/x-protobuf"}) as client:
            started = due = time.monotonic()
            warm_until = started + args.wait + 5
            before = None
            peak = 0.0
            while (now := time.monotonic()) < warm_until + args.seconds:
                if before is None and now >= warm_until:
                    before = cpu_s(pid), sent, now
                halves: tuple[list[bytes], list[bytes]] = [], []
                for number in range(per_tick):
                    trace_id = secrets.token_bytes(16)
                    for part, template in zip(
                        halves, blocked if (sent + number) % 100 == 0 else plain, strict=True
                    ):
                        part.append(template.replace(TRACE_ID, trace_id))
                for part in halves:
                    client.post(
                        f"http://127.0.0.1:{http}/v1/traces", content=b"".join(part)
                    ).raise_for_status()
                sent += per_tick
                peak = max(peak, resident_mib(pid))
                due += tick_s
                time.sleep(max(0.0, due - time.monotonic()))
            assert before is not None
            seconds = time.monotonic() - before[2]
            rate = (sent - before[1]) / seconds
            metrics = f"http://127.0.0.1:{own}/metrics"
            refused = counted(metrics, "otelcol_receiver_refused_spans")
            early = counted(metrics, "otelcol_processor_tail_sampling_sampling_trace_dropped_too_early")
            share = (cpu_s(pid) - before[0]) / seconds
            print(
                f"{rate:.0f} traces/s ({rate * SPANS:.0f} spans/s), decided after {args.wait:g} s: "
                f"{share:.2f} CPUs, {share / rate * 1e6 / SPANS:.1f} µs per span, {peak:.0f} MiB at most; "
                f"refused {refused:.0f} spans, dropped undecided {early:.0f} traces"
            )
    finally:
        gateway.stop()
        jaeger.stop()


if __name__ == "__main__":
    main()
