"""Both cores; the compiled one where it was built."""

from __future__ import annotations

import importlib
import os
import weakref
from pathlib import Path

import pytest
import uvloop

from otel_loopblock.core import pure

SCHEDULING = {
    "call_soon": 1,
    "call_soon_threadsafe": 1,
    "call_later": 2,
    "call_at": 2,
    "add_reader": 2,
    "add_writer": 2,
    "add_signal_handler": 2,
}
"""Methods of ``uvloop.Loop``, and where the callback stands in them, ``self`` included."""


@pytest.fixture(scope="session")
def native():
    """The compiled core; without a compiler there is none, unless CI requires one."""
    try:
        return importlib.import_module("otel_loopblock.core._native")
    except ImportError as error:
        if os.environ.get("OTEL_LOOPBLOCK_BUILD") == "require":
            pytest.fail(str(error))
        pytest.skip(f"there is no compiled core: {error}")


@pytest.fixture(scope="session")
def built(native):
    """Its file."""
    return Path(native.__file__)


@pytest.fixture(params=["native", "pure"])
def core(request):
    return request.getfixturevalue("native") if request.param == "native" else pure


@pytest.fixture
def timing(core, monkeypatch):
    """Puts the core's replacements in place; what was told of callbacks over 10 ms is in ``told``."""
    return Timing(core, monkeypatch)


class Timing:
    def __init__(self, core, monkeypatch):
        import asyncio

        self.told = told = []
        self.monitors = monitors = {}
        self.waiter = waiter = core.Waiter()
        self.original = asyncio.events.Handle._run

        class Monitor(core.Monitor):
            __slots__ = ("__weakref__",)

            def __init__(self, loop):
                key = id(loop)
                self.loop = weakref.ref(loop, lambda _: monitors.pop(key, None))
                self.threshold = 0.01
                self.waiter = waiter
                self.clock = core.thread_clock()

            def callback_ended(self, ended, callback, context, turns):
                told.append((ended - self.started, callback, context, turns))

        def attach(loop):
            return monitors.setdefault(id(loop), Monitor(loop))

        self.attach, self.monitor_type = attach, Monitor
        self.run = core.Run(asyncio.events.Handle, self.original, monitors, attach, 2)
        monkeypatch.setattr(asyncio.events.Handle, "_run", self.run)
        for name, position in SCHEDULING.items():
            original = getattr(uvloop.Loop, name)
            replacement = core.Scheduler(original, position, monitors, attach, 1)
            monkeypatch.setattr(uvloop.Loop, name, replacement)
