"""Prints whom the metric names for each endpoint: ``python -m tests.cases.functions [--times 12]``.

All blocks of one endpoint and one cause are to be one series: else one fault looks like several. The
application is blocked in every way that differs in who is to be named. Exit code 1 where
``event_loop.block.duration`` has more than one function for a route and a cause, or not the right one. What
the machine did, or nobody could see, is shown and not counted; a route of which all is such fails, too.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import fastapi
import jinja2
import prometheus_client
import uvloop
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from rich.console import Console
from rich.table import Table

from tests.cases.case import ask
from tests.causes.trial import run_watched

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}

FUNCTIONS = {
    "/computes": "computes",
    "/sleeps": "sleeps",
    "/keeps-gil": "keeps_gil",
    "/helpers": "helpers",
    "/depends": "dependency",
    "/mixed": "mixed",
    "/report": "report",
    "/page": "page",
    "/metrics": "prometheus_app",
}
"""Whom to name for the blocks of a route."""

NOT_COUNTED = ("descheduled", "gc", "unknown")

Named = dict[tuple[str, str], Counter[str]]
"""How many blocks of a route and a cause have each function."""


@dataclasses.dataclass
class _Label:
    name: str
    at: datetime


_START = datetime(2024, 1, 1)
_ROWS = [{"id": n, "at": _START, "labels": [_Label(f"{n}", _START)]} for n in range(1500)]
_PAGE = "{% for row in rows %}<tr><td>{{ row.name | upper }}</td></tr>\n{% endfor %}"
_DOCUMENT = json.dumps([{"n": n, "words": ["word"] * 10} for n in range(20_000)])


def _add_up(count: int) -> int:
    total = 0
    for number in range(count):
        total += number * number % 7
    return total


def _list_up(count: int) -> int:
    return sum(len(str(number)) for number in range(count))


def application() -> fastapi.FastAPI:
    """Make an application of which every path blocks the loop for some 40 to 80 ms."""
    app = fastapi.FastAPI()
    registry = prometheus_client.CollectorRegistry()
    latency = prometheus_client.Histogram("latency", "how long", ["tenant"], registry=registry)
    for n in range(350):
        latency.labels(tenant=f"t{n}").observe(0.1)
    app.mount("/metrics", prometheus_client.make_asgi_app(registry=registry))
    template = jinja2.Environment().from_string(_PAGE)
    named = [{"name": f"row {n}"} for n in range(20_000)]

    @app.get("/computes")
    async def computes() -> int:
        total = 0
        for number in range(600_000):
            total += number
        return total

    @app.get("/sleeps")
    async def sleeps() -> None:
        time.sleep(0.04)

    @app.get("/keeps-gil")
    async def keeps_gil() -> int:
        return len(json.loads(_DOCUMENT))

    @app.get("/helpers")
    async def helpers() -> int:
        return _add_up(700_000) + _list_up(500_000)

    async def dependency() -> int:
        total = 0
        for number in range(600_000):
            total += number
        return total

    @app.get("/depends")
    async def depends(total: int = fastapi.Depends(dependency)) -> int:
        return total

    async def part() -> int:
        return _add_up(300_000)

    @app.get("/mixed")
    async def mixed(total: int = fastapi.Depends(part)):  # with an annotation pydantic would serialise
        return _ROWS

    @app.get("/report")
    async def report():
        return _ROWS

    @app.get("/page")
    async def page() -> Any:
        return fastapi.responses.HTMLResponse(template.render(rows=named))

    return app


def measure(
    new_loop: Callable[[], asyncio.AbstractEventLoop], times: int, routes: Iterable[str] = FUNCTIONS
) -> Named:
    """Block a loop by each route so many times, and read the metric."""
    app, reader, tracers = application(), InMemoryMetricReader(), TracerProvider()
    FastAPIInstrumentor.instrument_app(app, tracer_provider=tracers)

    async def main() -> None:
        await asyncio.sleep(0.05)
        for route in routes:
            for _ in range(times):
                await asyncio.sleep(0.02)
                await asyncio.create_task(ask(app, "/metrics/" if route == "/metrics" else route))

    run_watched(new_loop, main(), tracers, MeterProvider([reader]))
    named: Named = defaultdict(Counter)
    for attributes, count in _points(reader):
        route, cause = attributes.get("http.route"), attributes["event_loop.block.cause"]
        if route in FUNCTIONS:
            named[route, cause][attributes.get("code.function.name", "")] += count
    return named


def _points(reader: InMemoryMetricReader) -> Iterator[tuple[dict[str, Any], int]]:
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name == "event_loop.block.duration":
                    for point in metric.data.data_points:
                        yield dict(point.attributes), point.count


def wrong(named: Named, strays: int = 0) -> Named:
    """Those of which more than so many blocks have not the right function."""
    return {
        (route, cause): functions
        for (route, cause), functions in named.items()
        if cause not in NOT_COUNTED
        and sum(count for name, count in functions.items() if not name.endswith(f".{FUNCTIONS[route]}"))
        > strays
    }


def main() -> int:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.cases.functions", description=__doc__)
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--loops", default="asyncio,uvloop")
    args = parser.parse_args()
    logging.getLogger("otel_loopblock").setLevel(logging.CRITICAL)
    passed = True
    for kind in args.loops.split(","):
        named = measure(LOOPS[kind], args.times)
        table = Table("route", "cause", "blocks", "functions", title=kind)
        for route, cause in sorted(named):
            functions = named[route, cause]
            said = ", ".join(f"{name.rpartition('.')[2]} {count}" for name, count in functions.items())
            table.add_row(route, cause, str(sum(functions.values())), said)
        Console(width=110).print(table)
        unseen = set(FUNCTIONS) - {route for route, cause in named if cause not in NOT_COUNTED}
        if unseen:
            print(f"not judged on {kind}, the machine is busy: {', '.join(sorted(unseen))}")
        passed &= not unseen and not wrong(named)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
