"""Runs cases on an instrumented loop and reports what was said of each block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.cases.case import Case
from tests.causes.trial import run_watched

NOT_ITS_DOING = ("gc", "descheduled", "gil_contention")
"""Causes whose advice is not about the call."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of one block."""

    case: Case
    attributes: dict[str, Any]
    """Of the longest block of the request; empty when nothing was reported."""

    @property
    def at_home(self) -> bool:
        """Whether the culprit is the right function."""
        return str(self.attributes.get("code.function.name")).endswith(self.case.culprit)

    @property
    def named(self) -> bool:
        """Whether the call is the right one."""
        call = self.attributes.get("event_loop.block.call")
        if call is None and self.attributes.get("event_loop.block.cause") == "gc":
            return True  # the collector was seen, which strikes anywhere
        return str(call) in self.case.calls

    @property
    def contradicts(self) -> bool:
        """Whether the advice says what the code that is there speaks against."""
        if self.attributes.get("event_loop.block.cause") in NOT_ITS_DOING:
            return False
        advice = str(self.attributes.get("event_loop.block.advice"))
        return any(text in advice for text in self.case.wrong)


def run(
    new_loop: Callable[[], asyncio.AbstractEventLoop], cases: Sequence[Case], times: int
) -> list[Verdict]:
    """Block a loop by each case so many times; the first time is not counted, it pays for what comes late."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("trial")
    ran: list[Case] = []

    async def main() -> None:
        await asyncio.sleep(0.05)
        for case in cases:
            with case.prepare() as request:
                for number in range(times + 1):
                    await asyncio.sleep(0.02)
                    name = f"{len(ran)}" if number else "first"
                    await asyncio.create_task(under_a_span(name, request))
                    if number:
                        ran.append(case)

    async def under_a_span(name: str, request: Callable[[], Any]) -> None:
        with tracer.start_as_current_span(name):
            await request()

    run_watched(new_loop, main(), provider)
    blocks: dict[str, dict[str, Any]] = {}
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans}
    for span in spans:
        found = [(span.name, dict(event.attributes or {})) for event in span.events]
        if span.name == "event_loop.blocked" and span.parent is not None:
            found.append((names.get(span.parent.span_id, ""), dict(span.attributes or {})))
        for name, attributes in found:
            longest = blocks.get(name, {}).get("event_loop.block.duration", 0.0)
            if attributes.get("event_loop.block.duration", 0.0) > longest:
                blocks[name] = attributes
    return [Verdict(case, blocks.get(str(number), {})) for number, case in enumerate(ran)]
