"""One tool beside ours in a process: ``python -m tests.neighbours.child TOOL LOOP ORDER``.

ORDER is three letters: who is put in first, theirs (t) or ours (o), who is taken out first, whether a loop
has run before (r) or not (-). Prints a line of JSON: what the application returned at each stage, the
functions that were reported, what was left of ours, what of theirs went with it.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import sys
import time
from typing import Any

import uvloop
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_loopblock import LoopBlockInstrumentor, guard
from tests.conftest import LOOPS
from tests.neighbours.tools import TOOLS

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
variable = contextvars.ContextVar("variable", default="outside")


DELIVERED_S = 60.0
"""What is reported of the run with ours must not come later, on a machine however busy."""


def culprit() -> None:
    time.sleep(0.05)


async def application() -> list[object]:
    """Tasks, timers, executors, an exception, a cancellation, a context; and one block."""
    loop = asyncio.get_running_loop()
    order: list[object] = []

    async def child(number: int) -> int:
        variable.set(str(number))
        await asyncio.sleep(0.001 * number)
        order.append((number, variable.get()))
        return number

    async def fails() -> None:
        raise LookupError("theirs")

    order.append(await asyncio.gather(*map(child, range(3))))
    order.append(variable.get())
    try:
        await asyncio.create_task(fails())
    except LookupError as error:
        order.append(str(error))
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        order.append("cancelled")
    order.append(await loop.run_in_executor(None, sum, range(10)))
    await asyncio.sleep(0.01)
    culprit()
    await asyncio.sleep(0.01)
    return order


def run(kind: str) -> list[object]:
    loop = LOOPS[kind]()
    asyncio.set_event_loop(loop)
    try:
        result = loop.run_until_complete(application())
        loop.run_until_complete(loop.shutdown_default_executor())
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def ours_in() -> Any:
    LoopBlockInstrumentor().instrument(
        tracer_provider=provider, threshold_ms=20, heartbeat_interval_ms=5, log_interval_ms=0
    )
    return LoopBlockInstrumentor().uninstrument


PATCHED = (asyncio.Handle, Span, *asyncio.SelectorEventLoop.__mro__, *uvloop.Loop.__mro__)
"""What tools put something over, and we."""


def attributes() -> dict[str, object]:
    return {
        f"{kind.__module__}.{kind.__qualname__}.{name}": value
        for kind in PATCHED
        for name, value in vars(kind).items()
    }


def differing(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """What is another object after than before, or is there only once."""
    nothing = object()
    return [
        name
        for name in sorted(before.keys() | after.keys())
        if before.get(name, nothing) is not after.get(name, nothing)
    ]


def main() -> None:
    name, kind, order = sys.argv[1:]
    first_in, first_out, between = order
    results = [run(kind)] if between == "r" else []
    put_in = {"t": TOOLS[name].put_in, "o": ours_in}
    second = {"t": "o", "o": "t"}
    out = {}
    with_theirs = attributes()
    """As all would be without ours."""
    for who in (first_in, second[first_in]):
        before = attributes()
        out[who] = put_in[who]()
        if who == "t":
            now = attributes()
            with_theirs |= {each: now[each] for each in differing(before, now) if each in now}
    results.append(run(kind))
    LoopBlockInstrumentor()._emitter.worker.drain(DELIVERED_S)
    blocked = [
        event.attributes.get("code.function.name")
        for span in exporter.get_finished_spans()
        for event in span.events
        if event.name == "event_loop.blocked"
    ] + [
        span.attributes.get("code.function.name")
        for span in exporter.get_finished_spans()
        if span.name == "event_loop.blocked"
    ]
    exporter.clear()
    out[first_out]()
    misplaced = differing(with_theirs, attributes()) if first_out == "o" else []
    results.append(run(kind))
    out[second[first_out]]()
    after_ours = first_out == "o" and [span.name for span in exporter.get_finished_spans()]
    exporter.clear()
    results.append(run(kind))
    left = [span.name for span in exporter.get_finished_spans()]
    print(
        json.dumps(
            {
                "results": results,
                "blocked": blocked,
                "after_ours": after_ours or [],
                "left": left,
                "misplaced": misplaced,
                "failures": [str(failure) for failure in guard.failures],
            }
        ),
        flush=True,
    )
    os._exit(0)


if __name__ == "__main__":
    main()
