"""Our threads are real ones; signals, and what tests patch, are the application's: they take neither."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from unittest import mock

import pytest

from otel_loopblock.emit.worker import THREAD_NAME
from tests.conftest import THREADS
from tests.service.running import ROOT

WAITS = """
import os, signal, sys, time
from opentelemetry.sdk.trace import TracerProvider
from otel_loopblock import LoopBlockInstrumentor
from tests.conftest import LOOPS

LoopBlockInstrumentor().instrument(tracer_provider=TracerProvider(), threshold_ms=10)

async def main():
    time.sleep(0.03)  # a block: the worker's thread starts as well

loop = LOOPS[sys.argv[1]]()
loop.run_until_complete(main())
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigwait({signal.SIGUSR1}).name)
"""


@pytest.mark.skipif(not hasattr(signal, "sigwait"), reason="no sigwait on this platform")
def test_signal_that_the_application_waits_for_reaches_it(loop_kind):
    done = subprocess.run(
        [sys.executable, "-c", WAITS, loop_kind],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "SIGUSR1\n"), done.stderr


PATCHED_FIRST = """
{patch}
from otel_loopblock import LoopBlockInstrumentor

first = asyncio.Handle._run
LoopBlockInstrumentor().instrument(threshold_ms=10, heartbeat_interval_ms=5)
assert asyncio.Handle._run is first
"""

PATCHED_LATER = """
from otel_loopblock import LoopBlockInstrumentor

LoopBlockInstrumentor().instrument(threshold_ms=10, heartbeat_interval_ms=5)
{patch}
"""

PATCHED_WHILE_WATCHED = """
from otel_loopblock import LoopBlockInstrumentor

LoopBlockInstrumentor().instrument(threshold_ms=10, heartbeat_interval_ms=5)
asyncio.run(asyncio.sleep(0.05))
{patch}
"""

GREENLETS = """
import faulthandler, logging, sys
faulthandler.dump_traceback_later(30, exit=True)
logging.basicConfig(format="log: %(message)s", stream=sys.stdout)
import asyncio, time
{begin}
async def main():
    until = time.perf_counter() + 0.05
    while time.perf_counter() < until:
        pass
    await asyncio.sleep(0.01)

asyncio.run(main())
{sleep}(0.05)
LoopBlockInstrumentor().instrument()
LoopBlockInstrumentor().uninstrument()
asyncio.run(main())
{sleep}(0.05)
print("ends")
"""

PATCHES = {
    "gevent": ("from gevent import monkey, sleep; monkey.patch_all()", "sleep"),
    "eventlet": ("import eventlet; eventlet.monkey_patch()", "eventlet.sleep"),
}


@pytest.mark.parametrize("library", PATCHES)
@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(PATCHED_FIRST, id="first"),
        pytest.param(PATCHED_LATER, id="later"),
        pytest.param(PATCHED_WHILE_WATCHED, id="while it is watched"),
    ],
)
def test_greenlets_in_the_place_of_threads_go_on(library, begin):
    patch, sleep = PATCHES[library]
    program = GREENLETS.format(begin=begin.format(patch=patch), sleep=sleep)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env={
            **os.environ,
            "EVENTLET_NO_GREENDNS": "yes",
        },  # that imports all of dnspython, and trio does not stand it
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = [line for line in done.stdout.splitlines() if "greenlets" in line]

    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["ends"]), done.stderr
    assert len(said) == 1


IN_A_SUB_INTERPRETER = """
import asyncio, logging, sys, threading, time
logging.basicConfig(format="log: %(message)s", stream=sys.stdout)
from otel_loopblock import LoopBlockInstrumentor

first = asyncio.Handle._run
LoopBlockInstrumentor().instrument(threshold_ms=10, heartbeat_interval_ms=5)
assert asyncio.Handle._run is first

async def main():
    time.sleep(0.05)
    await asyncio.sleep(0.01)

asyncio.run(main())
LoopBlockInstrumentor().uninstrument()
assert threading.active_count() == 1
print("ends", flush=True)
"""

SUB_INTERPRETER = """
import os, sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
failed = interpreters.run_string(interpreters.create(), sys.argv[1])
os._exit(failed is not None)  # CPython 3.12 crashes at the end of one that has imported asyncio
"""


def test_nothing_is_instrumented_in_a_sub_interpreter():
    done = subprocess.run(
        [sys.executable, "-c", SUB_INTERPRETER, IN_A_SUB_INTERPRETER],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()

    assert (done.returncode, lines[-1:]) == (0, ["ends"]), (done.stdout, done.stderr)
    assert len([line for line in lines if "sub-interpreter" in line]) == 1


def test_mock_in_the_place_of_sleep_is_not_called_by_us(telemetry, run):
    telemetry.instrument(threshold_ms=10)

    async def waits():
        with telemetry.tracer.start_as_current_span("GET /"):
            await asyncio.sleep(0.1)

    async def main():
        await asyncio.sleep(0.05)
        with mock.patch("time.sleep") as sleep:
            await asyncio.sleep(0.3)
            waiting = asyncio.ensure_future(waits())
            await asyncio.sleep(0.02)
            until = time.perf_counter() + 0.2
            while time.perf_counter() < until:  # a block: it is looked at each tick
                pass
            await waiting
            # Who waited is recorded in steps, with a rest between them.
            assert telemetry.points("event_loop.delay.duration")
        return sleep.call_count

    assert run(main()) == 0


def test_without_a_watchdog_there_is_no_thread_before_the_first_block(telemetry, run):
    telemetry.instrument(threshold_ms=20, watchdog=False, heartbeat_interval_ms=5)
    seen = []

    def ours():
        return [thread.name for thread in threading.enumerate() if thread.name.startswith(THREADS)]

    async def main():
        await asyncio.sleep(0.05)
        seen.append(ours())
        with telemetry.tracer.start_as_current_span("GET /"):
            time.sleep(0.05)
        await asyncio.sleep(0)
        seen.append(ours())

    run(main())

    assert seen == [[], [THREAD_NAME]]
    assert [name for name, _ in telemetry.events()] == ["GET /"]
