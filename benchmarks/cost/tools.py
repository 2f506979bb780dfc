"""The tools that are compared, each used as its README says; ``off`` is none.

Where ``rare``, whatever a tool does by the clock is done once in 1,000 s: a process under callgrind is about
fifty times slower, so such work would count fifty times. What it costs per second, ``times.py`` measures.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.machinery
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RARE_S = 1000.0


@dataclass(frozen=True)
class Started:
    """A loop with a tool on."""

    loop: asyncio.AbstractEventLoop
    saw: Callable[[], bool]
    """Whether the tool has reported a block."""


def start(tool: str, kind: str, *, rare: bool) -> Started:
    """Make a loop of that kind, watched by that tool."""
    return TOOLS[tool](kind, rare)


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """A plain loop."""
    if kind == "asyncio":
        return asyncio.new_event_loop()
    made: asyncio.AbstractEventLoop = importlib.import_module(kind).new_event_loop()
    return made


class _Heard(logging.Handler):
    """Keeps the lines of a logger."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        logger = logging.getLogger(name)
        logger.addHandler(self)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def off(kind: str, rare: bool) -> Started:
    loop = new_loop(kind)
    if find_spec("opentelemetry.sdk") is not None:
        set_providers()
    return Started(loop, lambda: False)


def find_spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None


def set_providers() -> None:
    """An SDK as in production, that exports nothing."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))


def otel_loopblock(kind: str, rare: bool) -> Started:
    from otel_loopblock import LoopBlockInstrumentor

    set_providers()
    heard = _Heard("otel_loopblock")
    options: dict[str, float] = {}
    if rare:
        options = {
            "threshold_ms": RARE_S * 1e3,
            "heartbeat_interval_ms": RARE_S * 1e3,
            "saturation_ms": 0,
        }
        from otel_loopblock.watch import fullness

        fullness.SAMPLE_S = RARE_S  # a sample is taken per time as well
    LoopBlockInstrumentor().instrument(**options)
    wanted = os.environ.get("OTEL_PYTHON_LOOPBLOCK_CORE")
    if wanted and wanted != active_core():
        raise SystemExit(f"the {wanted} core was asked for, the {active_core()} one is active")
    loop = new_loop(kind)
    loop.run_until_complete(_be_known())
    return Started(loop, lambda: any("blocked" in line for line in heard.lines))


async def _be_known() -> None:
    """A loop that nothing hooks is known from its first span on."""
    from opentelemetry import trace

    trace.get_tracer("cost").start_span("first").end()
    await asyncio.sleep(0.1)


def active_core() -> str:
    """``native`` where a compiled module of the package has been imported."""
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    ours = (
        str(module.__file__)
        for name, module in list(sys.modules.items())
        if name.startswith("otel_loopblock.") and getattr(module, "__file__", None)
    )
    return "native" if any(file.endswith(suffixes) for file in ours) else "pure"


def debug(kind: str, rare: bool) -> Started:
    heard = _Heard("asyncio")
    loop = new_loop(kind)
    loop.set_debug(True)
    if rare:
        loop.slow_callback_duration = RARE_S
    return Started(loop, lambda: any("took" in line for line in heard.lines))


def aiodebug(kind: str, rare: bool) -> Started:
    from aiodebug import log_slow_callbacks

    seen: list[str] = []
    log_slow_callbacks.enable(RARE_S if rare else 0.05, on_slow_callback=lambda name, took: seen.append(name))
    return Started(new_loop(kind), lambda: bool(seen))


def aiocop(kind: str, rare: bool) -> Started:
    import aiocop

    seen: list[Any] = []
    loop = new_loop(kind)

    async def begin() -> None:
        aiocop.patch_audit_functions()
        aiocop.start_blocking_io_detection()
        aiocop.detect_slow_tasks(threshold_ms=int(RARE_S * 1e3) if rare else 30, on_slow_task=seen.append)
        aiocop.activate()

    loop.run_until_complete(begin())
    return Started(loop, lambda: any(event.exceeded_threshold for event in seen))


def monitored_ioloop(kind: str, rare: bool) -> Started:
    seen: list[float] = []

    def monitor(state: Any) -> None:
        if state.callback_wall_time > 0.1:
            seen.append(state.callback_wall_time)

    if kind == "asyncio":
        from monitored_ioloop.monitored_asyncio import monitored_asyncio_loop_factory as factory
    else:
        from monitored_ioloop.monitored_uvloop import monitored_uvloop_loop_factory as factory
    return Started(factory(monitor)(), lambda: bool(seen))


def loopsentry(kind: str, rare: bool) -> Started:
    from loopsentry import LoopSentry

    loop = new_loop(kind)
    folder = tempfile.mkdtemp()

    async def begin() -> None:
        LoopSentry(base_dir=folder, threshold=RARE_S if rare else 0.1).start()

    loop.run_until_complete(begin())
    return Started(loop, lambda: any("block" in file.read_text() for file in Path(folder).rglob("*.jsonl")))


def fastapi_loopguard(kind: str, rare: bool) -> Started:
    from fastapi_loopguard import LoopGuardConfig, LoopGuardMiddleware

    heard = _Heard("fastapi_loopguard")
    loop = new_loop(kind)
    every = {
        "monitor_interval_ms": RARE_S * 1e3,
        "fallback_threshold_ms": RARE_S * 1e3,
        "cumulative_window_ms": RARE_S * 1e3,
        "adaptive_update_interval_ms": RARE_S * 1e3,
    }
    up = loop.create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await loop.create_future()

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, str]) -> None:
        up.set_result(message)

    guarded = LoopGuardMiddleware(app, LoopGuardConfig(**every) if rare else None)
    served = loop.create_task(guarded({"type": "lifespan"}, receive, send))
    loop.run_until_complete(up)
    return Started(loop, lambda: not served.done() and any("blocked" in line for line in heard.lines))


def pyleak(kind: str, rare: bool) -> Started:
    from pyleak import no_event_loop_blocking

    heard = _Heard("cost.pyleak")
    loop = new_loop(kind)
    every = {"threshold": RARE_S, "check_interval": RARE_S} if rare else {}

    async def begin() -> None:
        watching = no_event_loop_blocking(action="log", logger=logging.getLogger("cost.pyleak"), **every)
        await watching.__aenter__()
        loop.watching = watching  # type: ignore[attr-defined]  # or it would be collected

    loop.run_until_complete(begin())
    return Started(loop, lambda: any("blocked" in line for line in heard.lines))


def blockbuster(kind: str, rare: bool) -> Started:
    from blockbuster import BlockBuster

    BlockBuster().activate()
    return Started(new_loop(kind), lambda: False)


TOOLS: dict[str, Callable[[str, bool], Started]] = {
    "off": off,
    "otel-loopblock": otel_loopblock,
    "asyncio debug mode": debug,
    "aiodebug": aiodebug,
    "aiocop": aiocop,
    "monitored-ioloop": monitored_ioloop,
    "loopsentry": loopsentry,
    "fastapi-loopguard": fastapi_loopguard,
    "pyleak": pyleak,
    "blockbuster": blockbuster,
}
PEERS = tuple(name for name in TOOLS if name not in ("off", "otel-loopblock"))
