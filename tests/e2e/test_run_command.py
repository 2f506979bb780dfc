"""``otel-loopblock run`` before a service that exports to a real Collector by gRPC: both have everything."""

from __future__ import annotations

from tests.e2e.process import wait_for
from tests.run.running import APP, Run, culprit, load

PAYMENTS = 3


def test_service_that_exports_by_grpc_feeds_both(stack, tmp_path):
    words = ["uvicorn", APP, "--port", "PORT", "--loop", "uvloop", "--no-access-log"]
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{stack.addresses['collector:4317']}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_SERVICE_NAME": "paying-by-grpc",
    }
    with Run(tmp_path, words, environ=environ) as run:
        run.ready()
        load(run.port, PAYMENTS)
        assert run.stop() == 0

    row = culprit(run.report(), "charge_card")
    assert PAYMENTS - 1 <= row["count"] <= PAYMENTS  # on a busy machine one may be named otherwise

    def blocked():
        spans = stack.jaeger.find("paying-by-grpc", "GET /pay")
        found = [span for span in spans if span.event("event_loop.blocked")]
        return found if len(found) == PAYMENTS else None

    for span in wait_for(blocked, "three payments with event_loop.blocked in Jaeger"):
        assert span.event("event_loop.blocked")["event_loop.block.call"] == "time.sleep"
