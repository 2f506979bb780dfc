"""Two real gateways with deploy/collector/gateway.yaml, and a real Jaeger behind them.

The tests are the agents: as their exporter `load_balancing` does, they choose the gateway by the trace's id.
No module proxy serves that exporter, so the Collector that is built here lacks it. agent.yaml is not run.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

from tests.e2e.backends import Jaeger
from tests.e2e.deployment import DEPLOY
from tests.e2e.process import Program, wait_for
from tests.e2e.stack import JAEGER, Binaries, gateway_program, jaeger_program, traced
from tests.service.running import Service, free_port

AGENT = DEPLOY / "collector/agent.yaml"
GATEWAY = DEPLOY / "collector/gateway.yaml"
TRACES, BLOCKED = 2000, 50
SPANS = 5
"""Of each trace."""
BATCH = 400
DECISION_WAIT_S = 8


class Gateways:
    """Two gateways, and the Jaeger that they send to."""

    def __init__(self, binaries: Binaries) -> None:
        addresses = {name: f"127.0.0.1:{free_port()}" for name in JAEGER}
        self._jaeger_program = jaeger_program(binaries, addresses)
        self.jaeger = Jaeger(f"http://{addresses['jaeger:16686']}")
        self.urls: list[str] = []
        self.programs = [self._gateway(binaries, addresses["jaeger:4317"]) for _ in range(2)]

    def _gateway(self, binaries: Binaries, jaeger: str) -> Program:
        health, http = free_port(), free_port()
        self.urls.append(f"http://127.0.0.1:{http}")
        return gateway_program(
            binaries,
            http=http,
            health=health,
            telemetry=free_port(),
            jaeger=jaeger,
            wait_s=DECISION_WAIT_S,
        )

    def __enter__(self) -> Gateways:
        for program in (self._jaeger_program, *self.programs):
            program.start()
        return self

    def __exit__(self, *_: object) -> None:
        for program in (*self.programs, self._jaeger_program):
            program.stop()


@pytest.fixture(scope="module")
def gateways(binaries) -> Iterator[Gateways]:
    with Gateways(binaries) as running:
        yield running


class Written:
    """Traces as two services would write them, a front and a shop behind it."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self._front, self._shop = (self._tracer(name) for name in ("front", "shop"))

    def _tracer(self, service: str) -> trace.Tracer:
        provider = TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        return provider.get_tracer("tests")

    def add(
        self, *, lasts_s: float = 0.02, attributes=None, name: str | None = None, failed: bool = False
    ) -> int:
        """One trace. Attributes and outcome are those of the shop's request; ``name`` is of a span within it.

        Returns:
            Its id.
        """
        end = time.time_ns()
        began = end - int(lasts_s * 1e9)
        root = self._front.start_span("GET /", context=Context(), start_time=began)
        inside = trace.set_span_in_context(root)
        calls = self._front.start_span("GET shop", context=inside, start_time=began)
        request = self._shop.start_span(
            "GET /buy", context=trace.set_span_in_context(calls), start_time=began, attributes=attributes
        )
        within = trace.set_span_in_context(request)
        for child in ("SELECT", name or "render"):
            self._shop.start_span(child, context=within, start_time=began).end(end)
        if failed:
            request.set_status(Status(StatusCode.ERROR))
        for span in (request, calls, root):
            span.end(end)
        return root.get_span_context().trace_id

    def spans(self) -> list[ReadableSpan]:
        return list(self._kept.get_finished_spans())


def send(spans: list[ReadableSpan], gateways: Gateways) -> None:
    """In an order and in batches that tear all traces apart; each span to the gateway of its trace."""
    random.Random(1).shuffle(spans)
    for index, url in enumerate(gateways.urls):
        exporter = OTLPSpanExporter(f"{url}/v1/traces")
        mine = [span for span in spans if span.context.trace_id % len(gateways.urls) == index]
        for start in range(0, len(mine), BATCH):
            assert exporter.export(mine[start : start + BATCH]) is SpanExportResult.SUCCESS
        exporter.shutdown()


@dataclass(frozen=True)
class Outcome:
    """The ids of the traces that were sent, by what they are, and how many spans of each trace arrived."""

    sent: dict[str, list[int]]
    arrived: Counter[int]


@pytest.fixture(scope="module")
def outcome(gateways) -> Outcome:
    written = Written()
    blocked = {"event_loop.blocked": True, "event_loop.block.count": 1, "event_loop.blocked_time": 0.12}
    long, short = (
        {"event_loop.delayed": True, "event_loop.delayed_time": seconds} for seconds in (0.4, 0.02)
    )
    sent = {
        "rest": [written.add() for _ in range(TRACES - BLOCKED)],
        "blocked": [written.add(attributes=blocked) for _ in range(BLOCKED)],
        "hanging": [written.add(name="event_loop.blocked")],
        "long delayed": [written.add(attributes=long)],
        "short delayed": [written.add(attributes=short) for _ in range(50)],
        "failed": [written.add(failed=True)],
        "slow": [written.add(lasts_s=2.5)],
    }
    send(written.spans(), gateways)

    def arrived() -> Counter[int]:
        spans = gateways.jaeger.find("front", "GET /", limit=TRACES)
        return Counter(int(span.trace_id, 16) for span in spans)

    wait_for(lambda: set(sent["blocked"]) <= set(arrived()), "the blocked traces in Jaeger", timeout_s=60)
    time.sleep(3)  # what else was kept at that time
    return Outcome(sent, arrived())


def test_every_trace_that_blocked_arrives_whole(outcome, report):
    whole = [trace_id for trace_id in outcome.sent["blocked"] if outcome.arrived[trace_id] == SPANS]
    report.append(f"two gateways: {len(whole)} of {BLOCKED} blocked traces arrived whole")
    assert len(whole) == BLOCKED


def test_of_the_rest_few_arrive_and_those_whole(outcome, report):
    rest = outcome.sent["rest"] + outcome.sent["short delayed"]
    kept = [outcome.arrived[trace_id] for trace_id in rest if outcome.arrived[trace_id]]
    report.append(f"two gateways: {len(kept)} of {len(rest)} other traces arrived")
    assert 0 < len(kept) < 0.05 * len(rest)
    assert set(kept) == {SPANS}


@pytest.mark.parametrize("kind", ["hanging", "long delayed", "failed", "slow"])
def test_what_is_worth_a_look_arrives_too(outcome, kind):
    (trace_id,) = outcome.sent[kind]
    assert outcome.arrived[trace_id] == SPANS


def test_both_gateways_had_a_share_and_nothing_in_their_configuration_is_deprecated(gateways, outcome):
    for program in gateways.programs:
        said = program.output()
        assert "Everything is ready" in said
        assert "deprecated" not in said.lower()
    assert {trace_id % 2 for trace_id in outcome.sent["blocked"]} == {0, 1}


def test_the_trace_of_a_real_request_that_blocked_is_kept(gateways):
    environ = {"OTEL_PYTHON_LOOPBLOCK_REPORT": "span", "OTEL_SERVICE_NAME": "real"}
    with Service(
        "tests.service.scenarios:app", loop="uvloop", endpoint=gateways.urls[0], environ=environ
    ) as service:
        trace_id = traced(service, "/block_then_return")
        names = wait_for(
            lambda: {span.name for span in gateways.jaeger.trace(trace_id)},
            "the request's trace",
            timeout_s=60,
        )
    assert {"GET /block_then_return", "event_loop.blocked"} <= names


# -- the files, against each other ---------------------------------------------------------------------


def test_agents_route_by_trace_to_the_gateways_that_compose_and_kubernetes_start():
    exporter = yaml.safe_load(AGENT.read_text())["exporters"]["load_balancing"]
    assert exporter["routing_key"] == "traceID"
    assert exporter["resolver"]["dns"]["hostname"] == "${env:GATEWAY_HOST:-gateway}"
    composed = yaml.safe_load((DEPLOY / "docker-compose.tail-sampling.yaml").read_text())["services"]
    assert composed["collector"]["environment"]["GATEWAY_HOST"] == "gateway"
    assert composed["gateway"]["deploy"]["replicas"] == 2
    manifests = list(yaml.safe_load_all((DEPLOY / "kubernetes/collector-tail-sampling.yaml").read_text()))
    by_name = {(found["kind"], found["metadata"]["name"]): found for found in manifests}
    agent = by_name["DaemonSet", "otel-collector"]["spec"]["template"]["spec"]["containers"][0]
    (host,) = (variable["value"] for variable in agent["env"] if variable["name"] == "GATEWAY_HOST")
    headless = by_name["Service", host]["spec"]
    assert headless["clusterIP"] == "None", "one address per gateway"
    assert headless["ports"][0]["port"] == 4317
    for config in (AGENT, GATEWAY):
        used = [by_name["DaemonSet", "otel-collector"], by_name["Deployment", "otel-gateway"], composed]
        assert any(f"/etc/otelcol/{config.name}" in str(found) for found in used)


@pytest.mark.parametrize("path", [AGENT, GATEWAY], ids=lambda path: path.name)
def test_overlay_changes_nothing_but_the_pipeline_of_traces(path: Path):
    assert set(yaml.safe_load(path.read_text())["service"]["pipelines"]) == {"traces"}
