"""The stack, started once, and led through the life of a Collector before the first test looks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e import stack as stacks
from tests.e2e.backends import Prometheus
from tests.e2e.stack import Binaries, Phase, Stack
from tests.service.running import Service

REPORT: list[str] = []
"""Lines that the run ends with: what was real, and what the backends answered."""


def pytest_terminal_summary(terminalreporter) -> None:
    if REPORT:
        terminalreporter.section("end to end")
        for line in REPORT:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report() -> list[str]:
    return REPORT


@pytest.fixture(scope="session")
def binaries(report) -> Binaries:
    binaries = Binaries.of_this_machine()
    versions = binaries.versions()
    report += [
        f"service      {stacks.python_versions()}",
        f"  -> OTLP/HTTP, OTLP/gRPC -> Collector    {versions['otelcol']}",
        f"  -> OTLP/gRPC -> Jaeger                  {versions['jaeger']}",
        f"  -> scraped by Prometheus 'system'       {versions['system']}",
        f"  -> scraped by Prometheus 'pinned'       {versions['pinned']}",
    ]
    return binaries


@pytest.fixture(params=["system", "pinned"])
def prometheus(request, stack) -> Prometheus:
    """Each Prometheus in turn."""
    return stack.prometheuses[request.param]


@dataclass
class Run:
    """What happened before the tests: the stack, its services, and one phase per state of the Collector."""

    stack: Stack
    service: Service
    limited: Service
    before_collector: Phase
    with_collector: Phase
    killed: Phase
    back: Phase
    trace_before_collector: str
    trace_with_collector: str
    trace_while_killed: str
    trace_back: str
    blocks_before_kill: float
    blocks_back: float


@pytest.fixture(scope="session")
def run(binaries, tmp_path_factory) -> Iterator[Run]:
    stack = Stack(binaries, tmp_path_factory.mktemp("stack"))
    try:
        yield lead_through_a_collectors_life(stack)
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def stack(run) -> Stack:
    return run.stack


def wait_for_blocks(stack: Stack, at_least: float) -> float:
    """How many blocks Prometheus counts of ``/block_then_return``; fewer than asked for if no more come."""
    by = 'http_route="/block_then_return", code_function_name="tests.service.scenarios.block"'

    def counted() -> float:
        return stack.prometheus.value(f"sum(event_loop_block_duration_seconds_count{{{by}}})") or 0

    with contextlib.suppress(AssertionError):
        stacks.wait_for(lambda: counted() >= at_least, "blocks in Prometheus")
    return counted()


def lead_through_a_collectors_life(stack: Stack) -> Run:
    """Start the service without a Collector, start that, kill it, start it again, under load all the time."""
    service = stack.service()
    innocent = f"{service.url}/innocent"
    stacks.asked_for(innocent, 1.0)  # first requests import, connect and compile
    trace_before_collector = stacks.traced(service, "/block_then_return")
    before_collector = stacks.asked_for(innocent)

    stack.start_program(stack.jaeger_program)
    for program in stack.prometheus_programs:
        stack.start_program(program)
    stack.start_program(stack.collector)
    trace_with_collector = stacks.traced(service, "/block_then_return")
    for path in ("/bare_task", "/inner_span", "/data_received", "/fill"):
        service.get(path)
    with_collector = stacks.asked_for(innocent)
    stacks.wait_for_blocked(stack, trace_with_collector)
    # One from before the Collector was there, one since.
    blocks_before_kill = wait_for_blocks(stack, 2)

    with stacks.Asking(innocent) as asking:
        time.sleep(1)
        stack.collector.kill()
        trace_while_killed = stacks.traced(service, "/block_then_return")
        time.sleep(stacks.PHASE_S)
    killed = asking.phase

    stack.collector.start()
    trace_back = stacks.traced(service, "/block_then_return")
    back = stacks.asked_for(innocent)
    # One from while it was down, one since.
    blocks_back = wait_for_blocks(stack, blocks_before_kill + 2)
    stack.keep_asking(innocent, pause_s=0.1)
    stack.keep_asking(f"{service.url}/block_then_return", pause_s=1.0)

    # A service with a limit that it exceeds, and then a loop that does not come back while it is looked at.
    limited = stack.service(
        OTEL_SERVICE_NAME="limited",
        OTEL_PYTHON_LOOPBLOCK_MAX_EVENTS_PER_SECOND="1",
        OTEL_PYTHON_LOOPBLOCK_HANG_AFTER_MS="500",
    )
    for _ in range(5):
        limited.get("/block_then_return")
    stacks.wait_for(
        lambda: stack.prometheus.value('sum(event_loop_block_suppressed_total{job="limited"})'),
        "suppressed reports in Prometheus",
    )
    stacks.ask_without_waiting(limited, "/stuck")
    pooled = stack.service("tests.service.pools:app", OTEL_SERVICE_NAME="pooled")
    stacks.ask_without_waiting(pooled, "/wait")
    return Run(
        stack=stack,
        service=service,
        limited=limited,
        before_collector=before_collector,
        with_collector=with_collector,
        killed=killed,
        back=back,
        trace_before_collector=trace_before_collector,
        trace_with_collector=trace_with_collector,
        trace_while_killed=trace_while_killed,
        trace_back=trace_back,
        blocks_before_kill=blocks_before_kill,
        blocks_back=blocks_back,
    )
