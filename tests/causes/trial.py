"""Runs culprits on an instrumented loop, in random order, and reports what was said of each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_loopblock import LoopBlockInstrumentor
from tests.causes.culprits import Culprit


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of one block."""

    culprit: Culprit
    wanted_s: float
    attributes: dict[str, Any] | None
    """Of the longest event; ``None`` when nothing was reported."""

    @property
    def cause(self) -> str:
        """What was reported as the cause."""
        return str(self.attributes["event_loop.block.cause"]) if self.attributes else "none"

    @property
    def right(self) -> bool:
        """Whether the cause is the right one."""
        return self.cause == self.culprit.cause

    @property
    def named(self) -> bool:
        """Whether the call, or that there was none, was told rightly."""
        if self.attributes is None:
            return False
        call = self.attributes.get("event_loop.block.call")
        return call in self.culprit.calls if self.culprit.calls else call in (None, "os.kill")

    @property
    def lacked_a_cpu(self) -> bool:
        """Whether the kernel itself says that others had the CPU for a good part of the block."""
        attributes = self.attributes or {}
        queued: float = attributes.get("event_loop.block.run_queue_delay", 0.0)
        return queued > 0.25 * attributes.get("event_loop.block.duration", self.wanted_s)

    @property
    def at_home(self) -> bool:
        """Whether the culprit is the right function."""
        if self.attributes is None:
            return False
        return str(self.attributes.get("code.function.name")).endswith(self.culprit.function)


def run(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    culprits: Sequence[Culprit],
    durations_s: Sequence[float],
    times: int,
    seed: int = 1,
) -> list[Verdict]:
    """Block a loop by each culprit for each duration, so many times, in random order."""
    cases = [(culprit, seconds) for culprit in culprits for seconds in durations_s] * times
    random.Random(seed).shuffle(cases)
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("trial")
    for culprit in culprits:  # calibrated before anything is watched
        with culprit.prepare(durations_s[0]):
            pass

    async def main() -> None:
        await asyncio.sleep(0.05)
        for number, (culprit, seconds) in enumerate(cases):
            with culprit.prepare(seconds) as block:
                await asyncio.sleep(0.03)
                with tracer.start_as_current_span(str(number)):
                    await asyncio.sleep(0)
                    block()
            await asyncio.sleep(0)

    run_watched(new_loop, main(), provider)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    return [Verdict(*case, _longest_event(spans[str(number)])) for number, case in enumerate(cases)]


def run_watched(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    work: Coroutine[Any, Any, None],
    provider: TracerProvider,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Run work on a loop of its own, instrumented: blocks become events that say all."""
    LoopBlockInstrumentor().instrument(
        tracer_provider=provider,
        meter_provider=meter_provider,
        report="event",
        heartbeat_interval_ms=0,
        log_interval_ms=3_600_000,
    )
    loop = new_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
        LoopBlockInstrumentor().uninstrument()


def _longest_event(span: ReadableSpan) -> dict[str, Any] | None:
    found = [dict(event.attributes or {}) for event in span.events if event.name == "event_loop.blocked"]
    return max(found, key=lambda attributes: attributes["event_loop.block.duration"], default=None)
