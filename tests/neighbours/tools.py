"""The tools, and how each is put in and taken out."""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import uvloop
from opentelemetry.sdk.trace import Span

TakeOut = Callable[[], object]


class Tool(NamedTuple):
    """One of them."""

    packages: tuple[str, ...]
    """What pip installs; nothing: it comes with Python."""
    put_in: Callable[[], TakeOut]
    """Returns what takes it out again, as far as it can be."""


def nothing() -> None:
    """Where a tool cannot be taken out."""


def debug_mode() -> TakeOut:
    import os

    os.environ["PYTHONASYNCIODEBUG"] = "1"  # each new loop asks for it
    asyncio.coroutines._is_debug_mode = lambda: True  # type: ignore[attr-defined]

    def take_out() -> None:
        os.environ.pop("PYTHONASYNCIODEBUG")
        asyncio.coroutines._is_debug_mode = lambda: False  # type: ignore[attr-defined]

    return take_out


def wrappers() -> TakeOut:
    """Functions around what every tracer wraps; taken out, they put back what they have found."""
    found = []
    for kind, name in WRAPPED:
        inner = getattr(kind, name)
        found.append((kind, name, vars(kind).get(name)))
        setattr(kind, name, _wrapper(inner))

    def take_out() -> None:
        for kind, name, own in found:
            if own is not None:
                setattr(kind, name, own)
            else:
                delattr(kind, name)

    return take_out


def _wrapper(inner: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(inner)
    def theirs(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    return theirs


WRAPPED = (
    (asyncio.Handle, "_run"),
    (asyncio.BaseEventLoop, "run_forever"),
    (asyncio.BaseEventLoop, "create_server"),
    (Span, "start"),
    (Span, "end"),
    *((uvloop.Loop, name) for name in ("run_forever", "call_soon", "call_later", "create_server")),
)


def nest_asyncio() -> TakeOut:
    importlib.import_module("nest_asyncio").apply()
    return nothing


def sentry() -> TakeOut:
    sdk = importlib.import_module("sentry_sdk")
    asyncio_integration = importlib.import_module("sentry_sdk.integrations.asyncio").AsyncioIntegration

    async def begin() -> None:
        sdk.init(
            dsn="http://key@127.0.0.1:9/1",
            traces_sample_rate=1.0,
            transport=lambda event: None,
            integrations=[asyncio_integration()],
        )

    asyncio.run(begin())
    return sdk.get_client().close


def ddtrace() -> TakeOut:
    importlib.import_module("ddtrace").patch(asyncio=True, futures=True)
    return nothing


def new_relic() -> TakeOut:
    agent = importlib.import_module("newrelic.agent")
    agent.global_settings().monitor_mode = False
    agent.initialize()
    return nothing


def logfire() -> TakeOut:
    module = importlib.import_module("logfire")
    module.configure(send_to_logfire=False, console=False)
    with_slow = module.log_slow_async_callbacks(slow_duration=0.02)
    with_slow.__enter__()
    return lambda: with_slow.__exit__(None, None, None)


def _instrumentor(module: str, name: str) -> Callable[[], TakeOut]:
    def put_in() -> TakeOut:
        instrumentor: Any = getattr(importlib.import_module(module), name)()
        instrumentor.instrument()
        take_out: TakeOut = instrumentor.uninstrument
        return take_out

    return put_in


def aiomonitor() -> TakeOut:
    importlib.import_module("aiomonitor")
    return nothing


def coverage() -> TakeOut:
    measured = importlib.import_module("coverage").Coverage(data_file=None, concurrency=["thread"])
    measured.start()
    take_out: TakeOut = measured.stop
    return take_out


def debugpy() -> TakeOut:
    importlib.import_module("debugpy").listen(("127.0.0.1", 0))
    return nothing


def profiler() -> TakeOut:
    sys.setprofile(lambda frame, event, argument: None)
    return lambda: sys.setprofile(None)


TOOLS = {
    "asyncio's debug mode": Tool((), debug_mode),
    "a profiler (sys.setprofile)": Tool((), profiler),
    "a tracer's wrappers": Tool((), wrappers),
    "nest_asyncio": Tool(("nest_asyncio",), nest_asyncio),
    "Sentry": Tool(("sentry-sdk",), sentry),
    "ddtrace": Tool(("ddtrace",), ddtrace),
    "New Relic": Tool(("newrelic",), new_relic),
    "Logfire": Tool(("logfire",), logfire),
    "opentelemetry-instrumentation-asyncio": Tool(
        ("opentelemetry-instrumentation-asyncio",),
        _instrumentor("opentelemetry.instrumentation.asyncio", "AsyncioInstrumentor"),
    ),
    "opentelemetry-instrumentation-threading": Tool(
        ("opentelemetry-instrumentation-threading",),
        _instrumentor("opentelemetry.instrumentation.threading", "ThreadingInstrumentor"),
    ),
    "aiomonitor": Tool(("aiomonitor",), aiomonitor),
    "coverage": Tool(("coverage",), coverage),
    "debugpy": Tool(("debugpy",), debugpy),
}
