"""Holds of the GIL in threads, beside a loop that has other things to do; and what was reported of each."""

from __future__ import annotations

import asyncio
import pickle
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from time import sleep, time_ns
from typing import Any, TypeAlias

import uvicorn
import uvloop
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_loopblock import LoopBlockInstrumentor
from tests.causes.culprits import Block, backtracking, parsing, sized, sorting

TICKER_S = 0.005
PAUSE_S = 0.15
LENGTHS = 4
LOOP_CODE = (f"{__name__}._tick", f"{__name__}._hold_all", "asyncio", "otel_loopblock")
"""What the loop's thread runs."""

NEW_LOOP: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

WAYS = ("to_thread", "to_thread endpoint", "def endpoint", "executor", "own thread")
"""The first in the context of a span, the next two in that of a request to FastAPI; then work that belongs to
nobody."""


@contextmanager
def pickling(seconds: float) -> Iterator[Block]:
    rows = [{"id": number, "name": f"name {number}", "tags": ["a", "b"]} for number in range(50)]

    def of(size: int) -> Block:
        data = [[dict(row) for row in rows] for _ in range(size)]

        def block() -> None:
            pickle.dumps(data)

        return block

    yield sized("pickle", seconds, of, 20)


HOLDERS = {
    "json.loads": (parsing, "json.loads"),
    "sorted": (sorting, "sorted"),
    "regular expression": (backtracking, "re.Pattern.search"),
    "pickle.dumps": (pickling, "pickle.dumps"),
}


@dataclass(slots=True)
class Hold:
    """One of them."""

    kind: str
    way: str
    line: int
    began_ns: int = 0
    ended_ns: int = 0
    span_id: int = 0
    """Of the request that it works for; 0 for none."""
    reports: list[Any] = field(default_factory=list)
    """What was reported of it: events, each with the id of the span that it is on."""

    @property
    def lasted_s(self) -> float:
        return (self.ended_ns - self.began_ns) / 1e9


def hold_all(
    loop_type: str,
    way: str,
    kinds: list[str],
    count: int,
    *,
    beside: str = "ticker",
    shortest_s: float = 0.05,
    longest_s: float = 0.2,
    seed: int = 1,
) -> tuple[list[Hold], list[Any]]:
    """Hold the GIL so often, and return what was reported of each, and what else was.

    Args:
        loop_type: ``asyncio`` or ``uvloop``.
        way: one of :data:`WAYS`.
        kinds: of :data:`HOLDERS`.
        count: of each kind.
        beside: what the loop does meanwhile: ``ticker``, a timer each 5 ms; ``heartbeat``, nothing but that.
        shortest_s: seconds.
        longest_s: seconds.
        seed: of the lengths and their order.
    """
    chance = random.Random(seed)
    lengths = [shortest_s + (longest_s - shortest_s) * step / (LENGTHS - 1) for step in range(LENGTHS)]
    with ExitStack() as stack:
        blocks = {
            kind: [stack.enter_context(HOLDERS[kind][0](seconds)) for seconds in lengths] for kind in kinds
        }
        plan = [(kind, chance.choice(blocks[kind])) for kind in kinds for _ in range(count)]
        chance.shuffle(plan)
        return _hold_planned(plan, loop_type, way, beside)


def _hold_planned(
    plan: list[tuple[str, Block]], loop_type: str, way: str, beside: str
) -> tuple[list[Hold], list[Any]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    LoopBlockInstrumentor().instrument(
        tracer_provider=provider, report="event", max_events_per_second=1000, log_interval_ms=1e9
    )
    loop = NEW_LOOP[loop_type]()
    try:
        holds = loop.run_until_complete(_hold_all(plan, way, provider, beside))
    finally:
        sleep(0.2)
        LoopBlockInstrumentor().uninstrument()
        loop.close()
    return holds, _match(holds, exporter.get_finished_spans())


async def _hold_all(
    plan: list[tuple[str, Block]], way: str, provider: TracerProvider, beside: str
) -> list[Hold]:
    ticker = asyncio.ensure_future(_tick()) if beside == "ticker" else None
    holds = []
    # Who starts a thread waits for it to begin: that would be a callback that waits, and no rest.
    await asyncio.gather(*(asyncio.to_thread(sleep, 0.1) for _ in range(4)))
    async with _GIVING[way](provider) as give:
        await asyncio.sleep(0.3)
        for kind, block in plan:
            hold = Hold(kind, way, block.__code__.co_firstlineno + 1)  # type: ignore[attr-defined]
            await asyncio.sleep(PAUSE_S)

            def work(hold: Hold = hold, block: Block = block) -> None:
                hold.span_id = trace.get_current_span().get_span_context().span_id
                sleep(0.001)  # the loop is in its selector by then
                hold.began_ns = time_ns()
                block()
                hold.ended_ns = time_ns()

            await give(work)
            await asyncio.sleep(0.02)
            holds.append(hold)
    if ticker is not None:
        ticker.cancel()
        with suppress(asyncio.CancelledError):
            await ticker
    return holds


Work: TypeAlias = "Callable[[], object]"
Give: TypeAlias = "Callable[[Work], Awaitable[object]]"


@asynccontextmanager
async def _to_thread(provider: TracerProvider) -> AsyncIterator[Give]:
    async def give(work: Work) -> None:
        with provider.get_tracer("trial").start_as_current_span("GET /"):
            await asyncio.to_thread(work)

    yield give


@asynccontextmanager
async def _to_executor(provider: TracerProvider) -> AsyncIterator[Give]:
    async def give(work: Work) -> None:
        with provider.get_tracer("trial").start_as_current_span("GET /"):
            await asyncio.get_running_loop().run_in_executor(None, work)

    yield give


@asynccontextmanager
async def _to_nobody(provider: TracerProvider) -> AsyncIterator[Give]:
    given: SimpleQueue[tuple[Work, ...]] = SimpleQueue()
    threading.Thread(target=_belonging_to_nobody, args=(given,), name="nobody's").start()

    async def give(work: Work) -> None:
        done = asyncio.Event()
        given.put((work, partial(asyncio.get_running_loop().call_soon_threadsafe, done.set)))
        await done.wait()

    yield give
    given.put(())


@asynccontextmanager
async def _to_endpoint(path: str, provider: TracerProvider) -> AsyncIterator[Give]:
    app, works = FastAPI(), list[Work]()

    @app.get("/def")
    def in_def() -> None:
        works.pop()()

    @app.get("/to_thread")
    async def in_thread() -> None:
        await asyncio.to_thread(works.pop())

    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()

    async def give(work: Work) -> None:
        works.append(work)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert b"200 OK" in await reader.read()
        writer.close()

    await give(lambda: sleep(0.05))  # so that its thread is there
    yield give
    server.should_exit = True
    await serving


_GIVING: dict[str, Callable[[TracerProvider], AbstractAsyncContextManager[Give]]] = {
    "to_thread": _to_thread,
    "to_thread endpoint": partial(_to_endpoint, "/to_thread"),
    "def endpoint": partial(_to_endpoint, "/def"),
    "executor": _to_executor,
    "own thread": _to_nobody,
}


def _belonging_to_nobody(given: SimpleQueue[tuple[Callable[[], object], ...]]) -> None:
    while functions := given.get():
        for function in functions:
            function()


async def _tick() -> None:
    while True:
        await asyncio.sleep(TICKER_S)


@dataclass(frozen=True, slots=True)
class Report:
    """An ``event_loop.blocked``, as an event or a span of its own."""

    span_id: int
    """Of the span that the event is on; 0 where it is a span of its own without a parent."""
    began_ns: int
    attributes: dict[str, Any]

    @property
    def ended_ns(self) -> int:
        return self.began_ns + int(self.attributes["event_loop.block.duration"] * 1e9)

    @property
    def cause(self) -> str:
        return str(self.attributes["event_loop.block.cause"])


def reports_in(spans: tuple[ReadableSpan, ...]) -> list[Report]:
    """All that was reported."""
    found = []
    for span in spans:
        if span.name == "event_loop.blocked":
            parent = span.parent.span_id if span.parent is not None else 0
            found.append(Report(parent, span.start_time or 0, dict(span.attributes or {})))
        found += [
            Report(span.context.span_id, event.timestamp, dict(event.attributes or {}))
            for event in span.events
            if event.name == "event_loop.blocked"
        ]
    return found


def _match(holds: list[Hold], spans: tuple[ReadableSpan, ...]) -> list[Report]:
    """Give each report to the hold that it overlaps most; returns the rest."""
    rest = []
    for report in reports_in(spans):
        overlaps = [
            (min(report.ended_ns, hold.ended_ns) - max(report.began_ns, hold.began_ns), hold)
            for hold in holds
        ]
        overlap, hold = max(overlaps, key=lambda each: each[0])
        if overlap > 0.5 * (report.ended_ns - report.began_ns):
            hold.reports.append(report)
        else:
            rest.append(report)
    return rest


@dataclass(slots=True)
class Score:
    """What was right of the holds of one kind."""

    holds: int = 0
    reported: int = 0
    lined: int = 0
    """With the right function and line."""
    called: int = 0
    """With the right call as well."""
    placed: int = 0
    """On the span of the request; without one, for work that belongs to nobody."""
    twice: int = 0
    blamed: int = 0
    """With code that the loop's thread ran."""
    off_ms: list[float] = field(default_factory=list)
    """How much longer than the hold the report was."""


def score(holds: list[Hold]) -> Score:
    """Count."""
    total = Score()
    for hold in holds:
        total.holds += 1
        kept = [report for report in hold.reports if report.cause == "gil_contention"]
        total.reported += bool(kept)
        total.twice += len(hold.reports) > 1
        lined = [report for report in kept if _is_right(hold, report)]
        total.lined += bool(lined)
        total.called += any(
            report.attributes.get("event_loop.block.call") == HOLDERS[hold.kind][1] for report in lined
        )
        total.placed += any(report.span_id == hold.span_id for report in kept)
        total.blamed += any(
            str(report.attributes.get("code.function.name", "")).startswith(LOOP_CODE)
            and ".work" not in str(report.attributes["code.function.name"])
            for report in hold.reports
        )
        total.off_ms += [
            (report.ended_ns - report.began_ns - (hold.ended_ns - hold.began_ns)) / 1e6 for report in kept[:1]
        ]
    return total


def _is_right(hold: Hold, report: Report) -> bool:
    attributes = report.attributes
    function = str(attributes.get("code.function.name", ""))
    prepare, _ = HOLDERS[hold.kind]
    module_and_name = f"{prepare.__module__}.{prepare.__wrapped__.__qualname__}"  # type: ignore[attr-defined]
    return (
        function == f"{module_and_name}.<locals>.of.<locals>.block"
        and attributes.get("code.line.number") == hold.line
    )
