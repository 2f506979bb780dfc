"""Others put wrappers over ours, and put ours back: what they did stays, and ours does nothing any more."""

from __future__ import annotations

import asyncio
import functools
import gc
import time

import pytest
import uvloop
from opentelemetry.sdk.trace import Span

from otel_loopblock import LoopBlockInstrumentor, guard
from otel_loopblock.hooks import uvloop as hook
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.collecting import collecting
from otel_loopblock.watch.loops import loops
from tests.conftest import run_on

BLOCK_S = 0.05


class Server(asyncio.Protocol):
    def data_received(self, data):
        if data == b"block":
            time.sleep(BLOCK_S)

    @staticmethod
    def connection_made(transport):
        """Nothing."""

    @classmethod
    def connection_lost(cls, exc):
        """Nothing."""


PLACES = [
    (asyncio.Handle, "_run"),
    (asyncio.BaseEventLoop, "run_forever"),
    (Span, "end"),
    (Span, "start"),
    (uvloop.Loop, "run_forever"),
    (uvloop.Loop, "call_soon"),
    (uvloop.Loop, "call_soon_threadsafe"),
    (uvloop.Loop, "call_later"),
    (uvloop.Loop, "call_at"),
    (uvloop.Loop, "add_reader"),
    (uvloop.Loop, "add_signal_handler"),
    (uvloop.Loop, "create_server"),
    (uvloop.Loop, "start_tls"),
    (Server, "data_received"),
    (Server, "connection_made"),
    (Server, "connection_lost"),
]
each_place = pytest.mark.parametrize(
    ("kind", "name"), [pytest.param(*place, id=f"{place[0].__name__}.{place[1]}") for place in PLACES]
)


@pytest.fixture
def undone():
    """Whatever a test leaves at the places is taken away after it."""
    before = {(kind, name): vars(kind).get(name) for kind, name in PLACES}
    yield before
    for (kind, name), own in before.items():
        if own is not None:
            setattr(kind, name, own)
        elif name in vars(kind):
            delattr(kind, name)


def wrap_all(places=PLACES):
    """Put a wrapper over each place, as another library does; return its calls, and the wrappers."""
    calls, wrappers = [], {}
    for kind, name in places:
        theirs = _theirs(getattr(kind, name), calls, kind.__name__, name)
        # A class method is bound already where it is had from.
        bound = isinstance(vars(kind)[name], (staticmethod, classmethod))
        wrappers[kind, name] = staticmethod(theirs) if bound else theirs
        setattr(kind, name, wrappers[kind, name])
    return calls, wrappers


def _theirs(inner, calls, *place):
    @functools.wraps(inner)
    def theirs(*args, **kwargs):
        calls.append(place)
        return inner(*args, **kwargs)

    return theirs


async def talk(data=b"x"):
    """Have a server's protocol receive something."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(data)
    await asyncio.sleep(0.01)
    writer.close()
    server.close()
    await asyncio.sleep(0.01)


@each_place
def test_own_attributes_come_back_as_the_very_objects(kind, name, telemetry):
    before = vars(kind).get(name)
    telemetry.instrument()
    run_on("uvloop", talk)
    assert vars(kind)[name] is not before
    LoopBlockInstrumentor().uninstrument()

    assert vars(kind).get(name) is before
    assert (name in vars(kind)) == (before is not None)


@each_place
def test_wrapper_over_ours_stays(kind, name, telemetry, undone):
    telemetry.instrument()
    run_on("uvloop", talk)
    _, wrappers = wrap_all([(kind, name)])
    LoopBlockInstrumentor().uninstrument()

    now = {(each, other): vars(each).get(other) for each, other in PLACES}
    assert now == {**undone, (kind, name): wrappers[kind, name]}


@each_place
def test_ours_that_is_put_back_later_does_nothing(kind, name, telemetry, undone, monkeypatch):
    telemetry.instrument()
    run_on("uvloop", talk)
    ours = vars(kind)[name]
    LoopBlockInstrumentor().uninstrument()
    setattr(kind, name, ours)
    monkeypatch.setattr(loops, "attach", lambda *args: pytest.fail("called"))

    async def main():
        telemetry.tracer.start_span("a").end()
        await talk()
        return [name for name in vars(asyncio.get_running_loop()) if "loopblock" in name]

    assert run_on("uvloop", main) == []
    assert run_on("asyncio", main) == []
    assert telemetry.events() == []
    assert [span.name for span in telemetry.spans()] == ["a", "a"]


async def in_a_callback(tracer):
    with tracer.start_as_current_span("request"):
        time.sleep(BLOCK_S)
    await asyncio.sleep(0)


async def in_a_protocol(tracer):
    await talk(b"block")


@pytest.mark.parametrize("work", [in_a_callback, in_a_protocol])
def test_ours_over_theirs_over_an_old_one_of_ours_reports_and_counts_once(telemetry, loop_kind, undone, work):
    telemetry.instrument(threshold_ms=30)
    run_on("uvloop", talk)
    calls, wrappers = wrap_all()
    LoopBlockInstrumentor().uninstrument()
    telemetry.instrument(threshold_ms=30)
    busy = []

    async def main():
        await work(telemetry.tracer)
        await asyncio.sleep(0)
        busy.append(loops.of(asyncio.get_running_loop()).busy)

    calls.clear()
    run_on(loop_kind, main)

    assert calls
    assert len(telemetry.points("event_loop.block.duration")) == 1
    assert [point.count for point in telemetry.points("event_loop.block.duration")] == [1]
    assert BLOCK_S * 0.9 < busy[0] < BLOCK_S * 1.9
    LoopBlockInstrumentor().uninstrument()
    assert {place: vars(place[0])[place[1]] for place in PLACES} == wrappers


def test_loop_that_only_an_old_wrapper_sees_is_not_taken_for_one_that_is_hooked(telemetry):
    """As ``functools.wraps`` copies marks, a wrapper over an old one of ours would pass for one of ours."""
    telemetry.instrument()
    theirs = {"call_soon": _theirs(uvloop.Loop.call_soon, [])}
    LoopBlockInstrumentor().uninstrument()
    telemetry.instrument()
    loop, plain = type("Derived", (uvloop.Loop,), theirs)(), uvloop.Loop()
    hooked = [hook.is_hooked(each) for each in (plain, loop)]
    loop.close()
    plain.close()

    assert hooked == [True, False]


def test_wrapper_that_is_no_function_is_no_obstacle(telemetry, monkeypatch):
    """Our runner's code is known; the code of an object that is called has none."""

    class Theirs:
        def __init__(self, inner):
            self.inner = inner

        def __call__(self, handle):
            self.inner(handle)

        def __get__(self, handle, kind):
            return self if handle is None else functools.partial(self, handle)

    monkeypatch.setattr(asyncio.Handle, "_run", Theirs(asyncio.Handle._run))
    telemetry.instrument(threshold_ms=30)

    run_on("asyncio", lambda: in_a_callback(telemetry.tracer))

    assert len(telemetry.events()) == 1


@pytest.mark.parametrize("how", ["removed", "wrapped"])
def test_collector_callbacks_of_others_stay(telemetry, how, monkeypatch):
    monkeypatch.setattr(collecting, "since", 0.0)
    before = list(gc.callbacks)
    telemetry.instrument()
    (ours,) = [callback for callback in gc.callbacks if callback not in before]
    theirs = functools.partial(ours)
    gc.callbacks[gc.callbacks.index(ours)] = theirs
    if how == "removed":
        gc.callbacks.remove(theirs)
    LoopBlockInstrumentor().uninstrument()
    ours("start", {})

    assert collecting.since == 0.0
    assert gc.callbacks == (before if how == "removed" else [*before, theirs])
    gc.callbacks[:] = before


def test_one_that_cannot_be_put_back_keeps_no_other(monkeypatch):
    class Stubborn(type):
        def __delattr__(cls, name):
            raise TypeError("stays")

    class First:
        @staticmethod
        def method():
            """Nothing."""

    class Second(First, metaclass=Stubborn):
        """Has nothing of its own."""

    monkeypatch.setattr(guard, "failures", guard.failures.copy())
    own = vars(First)["method"]
    patches = Patches()
    patches.replace(First, "method", lambda original: lambda: original())
    patches.replace(Second, "method", lambda original: lambda: original())
    patches.restore()

    assert vars(First)["method"] is own
    assert guard.failures["put back what was patched"] == 1
