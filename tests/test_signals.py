"""Signals, and what tests patch, are the application's: our threads take neither."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest

from otel_loopblock.signals import block_signals
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


def test_thread_that_is_none_takes_its_signals(monkeypatch):
    monkeypatch.setattr("_thread.start_new_thread", lambda *args: None)  # as gevent does
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        block_signals()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_mock_in_the_place_of_sleep_is_not_called_by_us(telemetry, run):
    telemetry.instrument(threshold_ms=10)

    async def main():
        await asyncio.sleep(0.05)
        with mock.patch("time.sleep") as sleep:
            await asyncio.sleep(0.3)
            until = time.perf_counter() + 0.2
            while time.perf_counter() < until:  # a block: it is looked at each tick
                pass
        return sleep.call_count

    assert run(main()) == 0
