"""An ASGI application without OpenTelemetry that blocks its loop when asked to, and tells what is in it."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time

CLASSES = (
    "asyncio.events.Handle",
    "asyncio.base_events.BaseEventLoop",
    "asyncio.selector_events.BaseSelectorEventLoop",
    "asyncio.unix_events._UnixSelectorEventLoop",
    "uvloop.Loop",
    "threading.Thread",
    "concurrent.futures.thread.ThreadPoolExecutor",
    "opentelemetry.sdk.trace.Span",
)
MODULES = ("gc", "asyncio", "asyncio.events", "os", "socket", "threading")


def _attributes():
    """Every attribute of what may be patched, the objects themselves."""
    found = {}
    for name in CLASSES:
        module, _, attribute = name.rpartition(".")
        if module in sys.modules:
            found[name] = dict(vars(getattr(sys.modules[module], attribute)))
    for name in MODULES:
        found[name] = dict(vars(importlib.import_module(name)))
    found["lists"] = {"gc.callbacks": tuple(gc.callbacks), "sys.meta_path": tuple(sys.meta_path)}
    return found


_before = _attributes()


def charge_card(seconds: float) -> None:
    time.sleep(seconds)


def spin(file: str) -> None:
    until = time.monotonic() + 60
    while not os.path.exists(file) and time.monotonic() < until:
        pass


def state():
    now = _attributes()
    changed = [
        f"{owner}.{name}"
        for owner, attributes in _before.items()
        for name in {*attributes, *now[owner]}
        if attributes.get(name) is not now[owner].get(name)
        and attributes.get(name) != now[owner].get(name)
        and name not in ("__annotations_cache__", "__static_attributes__")
    ]
    return {
        "changed": sorted(changed),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(os.listdir("/proc/self/task")),
        "fds": len(os.listdir("/proc/self/fd")),
        "opentelemetry": sorted(name for name in sys.modules if name.startswith("opentelemetry")),
        "path": sys.path,
    }


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    path = scope["path"]
    answer = {}
    if path.startswith("/block/"):
        charge_card(float(path.rpartition("/")[2]))
    elif path == "/spin":
        spin(f"{os.environ['WANTED']}.over")
    elif path == "/sleep":
        await asyncio.sleep(0.1)
    elif path == "/state":
        answer = state()
    elif path == "/fork":
        child = os.fork()
        if not child:
            time.sleep(20)
            os._exit(0)
        answer = {"child": child}
    else:
        await asyncio.sleep(0.001)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def _execute(number, frame):
    """What an older Python has in the place of ``sys.remote_exec``: the main thread executes a file."""
    with open(os.environ["WANTED"], encoding="utf-8") as wanted:
        script = wanted.read()
    try:
        with open(script, encoding="utf-8") as file:
            exec(compile(file.read(), script, "exec"), {})
    except Exception as error:
        print("stand-in:", repr(error), file=sys.stderr, flush=True)


if "WANTED" in os.environ:
    signal.signal(signal.SIGUSR1, _execute)
