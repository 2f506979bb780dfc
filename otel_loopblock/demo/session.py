"""One run of the demonstration: starts what is needed, sends the load, collects what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from otel_loopblock.demo import load
from otel_loopblock.demo.endpoints import ENDPOINTS, INNOCENT, QUOTE, THREADED
from otel_loopblock.demo.load import Load
from otel_loopblock.demo.promises import LAG, Run
from otel_loopblock.demo.steps import step
from otel_loopblock.local import interruption
from otel_loopblock.local.environment import collector_settings, service_environment
from otel_loopblock.local.findings import Findings
from otel_loopblock.local.receiver import ReceiverProcess
from otel_loopblock.local.service import ServiceProcess
from otel_loopblock.local.statistics import histogram_between
from otel_loopblock.local.telemetry import Metric, Span

APP = "otel_loopblock.demo.app:app"
APP_PATHS = (Path(__file__).parent,)
"""Its code is part of this package, which by default is never the application's own."""
SERVICE_NAME = "otel-loopblock-demo"
THREADED_S = 1.5
"""How long what keeps the GIL in a thread is asked for."""
CROWD_S = 2.5
"""How long the crowd asks for quotes."""
ARRIVAL_TIMEOUT_S = 8.0
"""How long telemetry may take from the service to the receiver; exports are much more frequent."""


def observe(console: Console, *, loop: str, threshold_ms: float, duration_s: float) -> Run:
    """Run the service and read back what it sent to a receiver of our own.

    Args:
        console: for progress.
        loop: ``asyncio`` or ``uvloop``.
        threshold_ms: from which a callback is a block.
        duration_s: of the load, half of it blocking, half of it offloaded.

    Raises:
        RuntimeError: the receiver or the service did not start.
    """
    with receiver_started(console) as receiver:
        environ = _environment(receiver.endpoint, threshold_ms)
        with service_started(console, ServiceProcess(APP, loop=loop, environ=environ)) as service:
            loads = _all_loads(console, service, duration_s, receiver)
            before, threaded, crowd, after = loads
            with step(console, "collect the telemetry"):
                spans = _all_spans(receiver, *loads)
                metrics = _metrics_until(receiver, after.ended_unix_ns)
    return Run(
        threshold_s=threshold_ms / 1000,
        before=before,
        threaded=threaded,
        crowd=crowd,
        after=after,
        findings=Findings(spans),
        metrics=metrics,
        lag_before=histogram_between(metrics, LAG, before.started_unix_ns, before.ended_unix_ns),
        lag_after=histogram_between(metrics, LAG, after.started_unix_ns, after.ended_unix_ns),
    )


def feed(
    console: Console, endpoint: str, *, loop: str, threshold_ms: float, duration_s: float
) -> tuple[Load, Load, str]:
    """Run the service with a collector of the user's, from which nothing can be read back.

    Args:
        console: for progress.
        endpoint: the collector's base URL.
        loop: ``asyncio`` or ``uvloop``.
        threshold_ms: from which a callback is a block.
        duration_s: of the load, half of it blocking, half of it offloaded.

    Returns:
        The two loads and all that the service printed.

    Raises:
        RuntimeError: the service did not start.
    """
    settings = collector_settings()
    environ = {
        **_environment(endpoint, threshold_ms),
        **settings,
    }
    service = ServiceProcess(APP, loop=loop, environ=environ)
    with service_started(console, service):
        before, *_, after = _all_loads(console, service, duration_s)
    return before, after, service.output()


def _environment(endpoint: str, threshold_ms: float) -> Mapping[str, str]:
    return service_environment(
        endpoint, threshold_ms=threshold_ms, service_name=SERVICE_NAME, app_paths=APP_PATHS
    )


@contextmanager
def receiver_started(console: Console) -> Iterator[ReceiverProcess]:
    """A receiver on any free port."""
    receiver = ReceiverProcess()
    try:
        with step(console, "start an OTLP receiver"):
            receiver.start()
        yield receiver
    finally:
        receiver.stop()


@contextmanager
def service_started(console: Console, service: ServiceProcess) -> Iterator[ServiceProcess]:
    """The service, once it answers."""
    with step(console, f"start {service.command}"):
        service.__enter__()
    try:
        yield service
    finally:
        service.stop()


def _all_loads(
    console: Console, service: ServiceProcess, duration_s: float, receiver: ReceiverProcess | None = None
) -> tuple[Load, Load, Load, Load]:
    before = _load(console, service, "blocking", duration_s / 2)
    if receiver is not None:  # the metrics of one load and the next must not mix
        _metrics_until(receiver, before.ended_unix_ns)
    # Not beside those that block: the loop would be in a callback when the thread takes the GIL.
    threaded = _send(console, service, f"send requests to {THREADED}", INNOCENT, [THREADED], THREADED_S)
    crowd = _send(console, service, f"send a crowd to {QUOTE}", QUOTE, (), CROWD_S)
    if receiver is not None:
        _metrics_until(receiver, crowd.ended_unix_ns)
    after = _load(console, service, "offloaded", duration_s / 2)
    return before, threaded, crowd, after


def _load(console: Console, service: ServiceProcess, variant: str, duration_s: float) -> Load:
    paths = [getattr(endpoint, variant) for endpoint in ENDPOINTS]
    what = f"send requests to {INNOCENT} and {len(paths)} × /{variant}/…"
    return _send(console, service, what, INNOCENT, paths, duration_s)


def _send(
    console: Console,
    service: ServiceProcess,
    what: str,
    by_many: str,
    others: Sequence[str],
    duration_s: float,
) -> Load:
    with step(console, what) as say:
        return interruption.run(
            load.send(
                service.url,
                innocent=by_many,
                others=others,
                duration_s=duration_s,
                progress=lambda count: say(f"{count} answered"),
            )
        )


def _all_spans(receiver: ReceiverProcess, *loads: Load) -> list[Span]:
    """The spans, once those of all requests are there, or as many as come."""
    sent = {answer.trace_id for load in loads for answer in load.answers}

    def complete(spans: list[Span]) -> bool:
        return sent <= {span.trace_id for span in spans if span.kind == "SERVER"}

    with suppress(TimeoutError):
        return receiver.wait_for_spans(complete, ARRIVAL_TIMEOUT_S)
    return receiver.spans()


def _metrics_until(receiver: ReceiverProcess, unix_ns: int) -> list[Metric]:
    """The metrics, once there is an export from after a moment, or as many as come."""

    def complete(metrics: list[Metric]) -> bool:
        return any(
            point.time_unix_ns >= unix_ns
            for metric in metrics
            if metric.name == LAG
            for point in metric.points
        )

    with suppress(TimeoutError):
        return receiver.wait_for_metrics(complete, ARRIVAL_TIMEOUT_S)
    return receiver.metrics()
