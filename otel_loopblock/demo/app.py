"""A small shop in FastAPI that knows nothing of this package; ``uvicorn otel_loopblock.demo.app:app``.

Each of ``/blocking/…`` calls a synchronous function on the event loop, as it is often done by mistake.
``/offloaded/…`` calls the same function where it belongs: what waits or releases the GIL in a thread, what
computes in a process. ``/stock`` is innocent: it only ever awaits. ``/quote`` never blocks for long. It fills
the loop when many ask for it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.propagators import TraceResponsePropagator, set_global_response_propagator

from otel_loopblock.demo import shop

SUPPLIERS = 20
"""Asked for each quote."""

tracer = trace.get_tracer("shop")
# Who sends a request is told its trace, in the answer's header ``traceresponse``.
set_global_response_propagator(TraceResponsePropagator())  # type: ignore[no-untyped-call]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # The pool's process serves no requests: it needs no instrumentation of its own.
    os.environ.pop("PYTHONPATH", None)
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="otel-loopblock-demo-") as folder,
        ProcessPoolExecutor(1, mp_context=spawn) as pool,
    ):
        app.state.pool = pool
        app.state.basket = shop.basket()
        app.state.orders, app.state.catalogue = await in_process(shop.make_data, Path(folder))
        yield


app = FastAPI(title="Shop", lifespan=lifespan)


async def authenticate() -> None:
    with tracer.start_as_current_span("authenticate"):
        await asyncio.sleep(0.01)


@app.get("/health")
async def health() -> dict[str, bool]:
    return {"ok": True}


@app.get("/stock")
async def stock() -> dict[str, int]:
    with tracer.start_as_current_span("ask warehouse"):
        await asyncio.sleep(0.03)
    return {"left": 3}


@app.get("/quote")
async def quote() -> dict[str, int]:
    """Fast alone: it lets others run after each supplier. Many of them at once fill the loop."""
    offers = []
    for supplier in range(SUPPLIERS):
        offers.append(shop.supplier_offer(app.state.basket, supplier))
        await asyncio.sleep(0)
    return {"cheapest": min(offers)}


@app.get("/blocking/payment")
async def payment() -> dict[str, str]:
    await authenticate()
    with tracer.start_as_current_span("charge card"):
        return {"payment": shop.charge_card(49.9)}


@app.get("/blocking/bundle")
async def bundle() -> dict[str, int]:
    await authenticate()
    with tracer.start_as_current_span("find bundle"):
        return {"total": shop.best_bundle(app.state.basket, shop.BUDGET)}


@app.get("/blocking/customers")
async def customers() -> dict[str, Any]:
    await authenticate()
    with tracer.start_as_current_span("query orders"):
        return {"top": shop.top_customers(app.state.orders)}


@app.get("/blocking/catalogue")
async def catalogue() -> dict[str, Any]:
    await authenticate()
    with tracer.start_as_current_span("read catalogue"):
        return shop.cheapest_product(app.state.catalogue)


@app.get("/offloaded/payment")
async def offloaded_payment() -> dict[str, str]:
    await authenticate()
    with tracer.start_as_current_span("charge card"):
        return {"payment": await asyncio.to_thread(shop.charge_card, 49.9)}


@app.get("/offloaded/bundle")
async def offloaded_bundle() -> dict[str, int]:
    await authenticate()
    with tracer.start_as_current_span("find bundle"):
        return {"total": await in_process(shop.best_bundle, app.state.basket, shop.BUDGET)}


@app.get("/offloaded/customers")
async def offloaded_customers() -> dict[str, Any]:
    await authenticate()
    with tracer.start_as_current_span("query orders"):
        return {"top": await asyncio.to_thread(shop.top_customers, app.state.orders)}


@app.get("/offloaded/catalogue")
async def offloaded_catalogue() -> dict[str, Any]:
    await authenticate()
    with tracer.start_as_current_span("read catalogue"):
        cheapest: dict[str, Any] = await in_process(shop.cheapest_product, app.state.catalogue)
        return cheapest


@app.get("/threaded/catalogue")
async def threaded_catalogue() -> dict[str, Any]:
    await authenticate()
    with tracer.start_as_current_span("report catalogue"):
        return await asyncio.to_thread(shop.dearest_product, app.state.catalogue)


async def in_process(function: Any, *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(app.state.pool, function, *arguments)
