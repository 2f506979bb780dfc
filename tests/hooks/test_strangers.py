"""What is no loop, or answers to every name, is left alone: only what is a monitor is taken for one."""

from __future__ import annotations

import asyncio
import time
from unittest import mock

import pytest

from otel_loopblock import guard
from otel_loopblock.hooks import protocols, unhooked
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor
from tests.conftest import LOOPS

MOCKS = {
    "Mock": mock.Mock,
    "MagicMock": mock.MagicMock,
    "Mock of a loop": lambda: mock.Mock(spec=asyncio.AbstractEventLoop),
    "MagicMock of asyncio's": lambda: mock.MagicMock(spec=asyncio.BaseEventLoop),
    "mock that refuses": lambda: mock.NonCallableMagicMock(spec_set=asyncio.SelectorEventLoop),
}


@pytest.fixture(params=sorted(MOCKS))
def stranger(request):
    return MOCKS[request.param]()


@pytest.fixture
def running(stranger):
    asyncio._set_running_loop(stranger)
    yield stranger
    asyncio._set_running_loop(None)


def test_handle_of_a_mock_is_run_and_the_mock_sees_nothing_of_us(telemetry, stranger):
    telemetry.instrument(heartbeat_interval_ms=5)
    callback = mock.Mock()

    handle = asyncio.Handle(callback, (1,), stranger)
    stranger.reset_mock()
    handle._run()

    callback.assert_called_once_with(1)
    assert stranger.mock_calls == []
    assert loops.monitors() == []


def test_span_that_starts_and_ends_under_a_mock_is_as_ever(telemetry, running):
    telemetry.instrument()

    with telemetry.tracer.start_as_current_span("GET /"):
        pass

    assert [span.name for span in telemetry.spans()] == ["GET /"]
    assert running.mock_calls == []


@pytest.mark.parametrize("stranger", ["Mock", "MagicMock"], indirect=True)
def test_protocol_is_called_under_a_mock(telemetry, running):
    class Echo(asyncio.Protocol):
        def data_received(self, data):
            return data

    Echo.data_received = protocols._make_method(Echo.data_received, Patches())

    assert Echo().data_received(b"x") == b"x"


def test_instrumenting_under_a_mock_asks_it_nothing(telemetry, running):
    telemetry.instrument(heartbeat_interval_ms=5)
    unhooked.found(running)

    assert running.mock_calls == []


class Asked(asyncio.SelectorEventLoop):
    """Has an answer for every name, and not the usual one."""

    def __getattr__(self, name):
        if name.startswith("_loopblock"):
            raise LookupError(name)
        raise AttributeError(name)


def test_loop_that_raises_what_it_likes_for_a_missing_attribute_is_monitored(telemetry):
    telemetry.instrument()

    async def main():
        with telemetry.tracer.start_as_current_span("GET /"):
            time.sleep(0.03)

    loop = Asked()
    loop.run_until_complete(main())

    assert type(loops.of(loop)) is Monitor
    loop.close()
    assert len(telemetry.events()) == 1


def test_loop_that_carries_something_else_is_given_a_monitor(telemetry, loop_kind):
    loop = LOOPS[loop_kind]()
    loop._loopblock_monitor = mock.MagicMock()
    telemetry.instrument()

    loop.run_until_complete(asyncio.sleep(0))

    assert type(loops.of(loop)) is Monitor
    loop.close()


def block():
    time.sleep(0.03)


class Proxy:
    """As of a library: bound to nothing, it raises what it likes."""

    def __getattr__(self, name):
        raise RuntimeError("bound to nothing")

    def __call__(self):
        block()


NOT_OURS = {
    "mock of a function": (lambda: mock.Mock(spec=block, side_effect=block), set()),
    "proxy": (Proxy, {"name what a loop called", "look for requests that waited"}),
}
"""Callbacks that answer oddly, and what of ours may fail because of them."""


@pytest.mark.parametrize("kind", NOT_OURS)
def test_block_of_a_callback_that_answers_oddly_is_reported(telemetry, run, kind):
    """It is asked what it is where no look was taken; and so is the one that waits meanwhile."""
    make, may_fail = NOT_OURS[kind]
    telemetry.instrument(watchdog=False)
    callback = make()

    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(callback)
        loop.call_soon(callback)
        await asyncio.sleep(0.01)

    run(main())

    assert len(telemetry.spans("event_loop.blocked")) >= 2
    assert sum(point.count for point in telemetry.points("event_loop.block.duration")) >= 2
    assert {part for part in may_fail if guard.failures.pop(part, 0)} == may_fail
