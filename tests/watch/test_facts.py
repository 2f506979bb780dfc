"""What is known of a loop is learned without harm to it."""

from __future__ import annotations

import asyncio
import gc
import sys
from unittest import mock

import pytest
import uvloop

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.watch.facts import has_own, keeps_real_time
from tests.conftest import LOOPS


@pytest.mark.skipif(sys.version_info < (3, 11), reason="attributes are in a dictionary from the beginning")
def test_attributes_of_a_loop_stay_as_fast_as_they_are(telemetry):
    # 3.11 and later keep them in the object itself until somebody asks for its __dict__, for good then.
    telemetry.instrument(heartbeat_interval_ms=10)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0.03))

    held = gc.get_referents(loop)
    loop.close()
    assert not any(isinstance(each, dict) and "_ready" in each for each in held)


def test_loops_of_asyncio_and_uvloop_keep_real_time(loop_kind):
    loop = LOOPS[loop_kind]()
    assert keeps_real_time(loop)
    assert has_own(loop, "call_later")
    loop.close()


@pytest.mark.parametrize("name", ["time", "call_later"])
def test_method_that_was_put_on_the_instance_is_not_its_own(name):
    loop = asyncio.new_event_loop()
    setattr(loop, name, mock.Mock())
    assert not has_own(loop, name)
    assert getattr(loop, name).mock_calls == []
    loop.close()


def test_method_that_the_hooks_have_replaced_is_what_it_was_before(telemetry, monkeypatch):
    loop = uvloop.new_event_loop()
    telemetry.instrument()
    assert has_own(loop, "call_later")
    LoopBlockInstrumentor().uninstrument()
    original = uvloop.Loop.call_later
    monkeypatch.setattr(uvloop.Loop, "call_later", lambda *arguments: original(*arguments))
    telemetry.instrument()
    assert not has_own(loop, "call_later")
    LoopBlockInstrumentor().uninstrument()
    loop.close()


def test_method_of_a_subclass_is_not_its_own():
    class Virtual(asyncio.SelectorEventLoop):
        def time(self):
            raise AssertionError("called")

    loop = Virtual()
    assert not keeps_real_time(loop)
    loop.close()


def test_loop_that_answers_for_itself_is_not_asked():
    class Answers(asyncio.SelectorEventLoop):
        def __getattribute__(self, name):
            if name == "call_later":
                raise AssertionError("asked")
            return super().__getattribute__(name)

    loop = Answers()
    assert not has_own(loop, "call_later")
    loop.close()
