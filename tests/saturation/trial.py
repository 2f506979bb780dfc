"""Loads of a loop, and what was said of them. What is true is measured by the load itself: a machine that is
busy with other things changes it."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from dataclasses import dataclass, field

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.watch.loops import loops
from tests.conftest import LOOPS

SATURATED = "event_loop.saturated"
ROUTES = {"/first": 6, "/second": 3, "/third": 1}
STEP_S = 0.002


def compute(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def first(seconds):
    compute(seconds)


def second(seconds):
    compute(seconds)


def third(seconds):
    compute(seconds)


FUNCTIONS = {"/first": first, "/second": second, "/third": third}


@dataclass
class Found:
    """What a load did, and what was said of it."""

    true_s: dict[str, float] = field(default_factory=dict)
    """Seconds in each route, by its own clock."""
    busy_s: float = 0.0
    """Seconds in callbacks, by the monitor."""
    wall_s: float = 0.0
    longest_s: float = 0.0
    """Of the stretches without a rest, as the load knows it."""
    saturated: list = field(default_factory=list)
    """The spans."""
    busy: list = field(default_factory=list)
    """Points of ``event_loop.busy``."""

    def true_shares(self):
        return {route: seconds / self.busy_s for route, seconds in self.true_s.items()}

    def reported_shares(self):
        """Of the routes, in all that was reported at an end, weighted by the length."""
        whole = [each for each in self.saturated if not each.attributes.get("event_loop.saturation.ongoing")]
        total = sum(each.attributes["event_loop.saturation.samples"] for each in whole)
        shares = dict.fromkeys(ROUTES, 0.0)
        for each in whole:
            weight = each.attributes["event_loop.saturation.samples"] / total
            routes = each.attributes["event_loop.saturation.routes"]
            for route, share in zip(
                routes, each.attributes["event_loop.saturation.route_shares"], strict=True
            ):
                shares[route] += weight * share
        return shares

    def counted_shares(self):
        shares = dict.fromkeys(ROUTES, 0.0)
        for point in self.busy:
            route = point.attributes.get("http.route")
            if route in shares:
                shares[route] += point.value / self.busy_s
        return shares

    @property
    def counted_s(self):
        return sum(point.value for point in self.busy)


class Trial:
    """One load on one loop, instrumented."""

    def __init__(self, loop_kind, **options):
        self.loop_kind = loop_kind
        self.options = options
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("trial")
        self.found = Found(dict.fromkeys(ROUTES, 0.0))

    def run(self, load, *args):
        """Run ``load(self, *args)`` as the loop's work; returns what was found."""
        instrumentor, found = LoopBlockInstrumentor(), self.found
        instrumentor.instrument(
            tracer_provider=self.provider, meter_provider=MeterProvider([self.reader]), **self.options
        )
        loop = LOOPS[self.loop_kind]()
        try:
            loop.run_until_complete(self._work(load, *args))
            monitor = loops.of(loop)
            assert instrumentor._emitter.worker.drain(30)
            found.busy = self.points("event_loop.busy")
            found.busy_s = monitor.busy
            found.saturated = [each for each in self.exporter.get_finished_spans() if each.name == SATURATED]
        finally:
            loop.close()
            instrumentor.uninstrument()
        return found

    async def _work(self, load, *args):
        await asyncio.sleep(0.3)
        began = time.perf_counter()
        await load(self, *args)
        self.found.wall_s = time.perf_counter() - began
        await asyncio.sleep(0.3)

    def request(self, route, seconds=STEP_S):
        began = time.perf_counter()
        with self.tracer.start_as_current_span(f"GET {route}", attributes={"http.route": route}):
            FUNCTIONS[route](seconds)
        self.found.true_s[route] += time.perf_counter() - began

    def points(self, metric):
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]


async def three_routes(trial, seconds):
    """Requests of three routes, one task each, five at a time."""
    pick = random.Random(27)
    until = time.perf_counter() + seconds
    loop = asyncio.get_running_loop()

    async def request(route):
        trial.request(route)

    async def client():
        while time.perf_counter() < until:
            [route] = pick.choices(list(ROUTES), list(ROUTES.values()))
            await loop.create_task(request(route))

    await asyncio.gather(*(client() for _ in range(5)))


async def share_of_a_loop(trial, seconds, load, burst_s):
    """Bursts of callbacks, and pauses, so that the loop is busy for a share of the time."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        while time.perf_counter() - began < burst_s:
            trial.request("/first")
            await asyncio.sleep(0)
        busy_s = time.perf_counter() - began
        trial.found.longest_s = max(trial.found.longest_s, busy_s)
        pause_s = busy_s * (1 - load) / load
        await asyncio.sleep(pause_s)


async def nearly_full(trial, seconds, load):
    """Callbacks of nine milliseconds and rests between: real ones, in the selector."""
    wake, loop, over = asyncio.Event(), asyncio.get_running_loop(), threading.Event()
    rest_s = 0.009 * (1 - load) / load

    def waker():
        """Wakes the loop from its selector after so short a rest as no timer of its own has."""
        while asked.acquire() and not over.is_set():
            time.sleep(rest_s)
            loop.call_soon_threadsafe(wake.set)

    asked = threading.Semaphore(0)
    threading.Thread(target=waker, daemon=True).start()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        trial.request("/first", 0.009)
        wake.clear()
        asked.release()
        await wake.wait()
    over.set()
    asked.release()
