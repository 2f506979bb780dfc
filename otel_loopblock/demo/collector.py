"""The demonstration with a collector of the user's: nothing can be read back, so it says where to look."""

from __future__ import annotations

import httpx
from opentelemetry.util.re import parse_env_headers
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_loopblock.demo import session
from otel_loopblock.demo.endpoints import ENDPOINTS, INNOCENT
from otel_loopblock.demo.load import Load
from otel_loopblock.demo.promises import Promise, answered
from otel_loopblock.demo.report import verdict
from otel_loopblock.local.environment import collector_settings
from otel_loopblock.local.wording import short

PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
TIMEOUT_S = 5.0


def demonstrate(
    console: Console, endpoint: str, *, loop: str, threshold_ms: float, duration_s: float
) -> list[Promise]:
    """Send the demonstration's telemetry to a collector, and print what to look for there.

    Args:
        console: for progress and text.
        endpoint: the collector's base URL.
        loop: ``asyncio`` or ``uvloop``.
        threshold_ms: from which a callback is a block.
        duration_s: of the load, half of it blocking, half of it offloaded.

    Returns:
        What can be judged from here: the answers, the service's own log, that the collector took it all.

    Raises:
        RuntimeError: the collector or the service cannot be reached.
    """
    check_collector(endpoint)
    before, after, output = session.feed(
        console, endpoint, loop=loop, threshold_ms=threshold_ms, duration_s=duration_s
    )
    judged = [answered(before, after), *(logged(output, e.function) for e in ENDPOINTS), exported(output)]
    console.print()
    console.print(where_to_look(before))
    console.print()
    console.print(verdict(judged))
    return judged


def check_collector(endpoint: str) -> None:
    """See that there is an OTLP receiver, by an empty export.

    Raises:
        RuntimeError: there is none, with what to do.
    """
    settings = collector_settings()
    if settings.get(PROTOCOL, "http/protobuf") != "http/protobuf":
        return  # the service's log will tell
    certificate = settings.get("OTEL_EXPORTER_OTLP_CERTIFICATE")
    headers = parse_env_headers(settings.get(HEADERS, ""), liberal=True)
    grpc = f"if it takes gRPC there, set {PROTOCOL}=grpc"
    try:
        answer = httpx.post(
            f"{endpoint}/v1/traces",
            content=b"",
            headers={**headers, "Content-Type": "application/x-protobuf"},
            verify=certificate or True,
            timeout=TIMEOUT_S,
        )
    except (httpx.HTTPError, OSError) as error:
        raise RuntimeError(f"no OTLP receiver answers at {endpoint}: {error}; {grpc}") from error
    if not answer.is_success:
        raise RuntimeError(f"{endpoint}/v1/traces answers {answer.status_code}; {grpc}")


def logged(output: str, function: str) -> Promise:
    """The service's log names a culprit."""
    name = function.rpartition(".")[2]
    text = f"The service's log names {short(function)}"
    lines = [line for line in output.splitlines() if line.startswith("event loop blocked") and name in line]
    return Promise(text, bool(lines), lines[0] if lines else "it does not")


def exported(output: str) -> Promise:
    """No exporter complained."""
    text = "The collector took every export"
    complaints = [
        line
        for line in output.splitlines()
        if "export" in line.lower() and any(word in line for word in ("Failed", "Transient", "Exception"))
    ]
    return Promise(text, not complaints, complaints[0] if complaints else "no exporter complained")


def where_to_look(before: Load) -> Table:
    """What there is to be seen in a tracing and a metrics backend."""
    table = Table(title="What to look for", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    table.add_row("service", Text(session.SERVICE_NAME, "bold"))
    for endpoint in ENDPOINTS:
        slowest = _slowest(before, endpoint.blocking)
        table.add_row(
            f"GET {endpoint.blocking}",
            Text("trace ")
            .append(slowest or "?", "bold")
            .append(f": event event_loop.blocked, code.function.name = {endpoint.function}"),
        )
    table.add_row(
        f"GET {INNOCENT}",
        Text("trace ")
        .append(_slowest(before, INNOCENT) or "?", "bold")
        .append(": the slowest of those that only had to wait"),
    )
    table.add_row(
        "in Prometheus",
        Text("histogram_quantile(0.99, sum by (le) (rate(event_loop_lag_seconds_bucket[1m])))", "bold"),
    )
    return table


def _slowest(load: Load, path: str) -> str | None:
    answers = [answer for answer in load.of(path) if answer.trace_id is not None]
    return max(answers, key=lambda answer: answer.duration_s).trace_id if answers else None
