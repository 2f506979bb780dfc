"""Exceptions that a signal handler raises, most of them in the middle of our code: how many arrive?

``python -m tests.alarms asyncio 30`` blocks a loop again and again for half a minute, with a signal soon
after each block. It fails where an exception of the signal's handler is neither with the loop's exception
handler, nor out of the loop, nor where Python says that it ignores one. There is one at a time.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from otel_loopblock import LoopBlockInstrumentor, core, guard
from tests.conftest import LOOPS

ROOT = Path(__file__).resolve().parents[1]
BLOCK_S = 0.0015
SOON_S = 0.0015
"""Within which the signal comes: about as long as we are at a block."""
OURS = os.path.dirname(guard.__file__) + os.sep


class Late(Exception):
    """Raised by the handler of the signal, with a number."""


class Alarms:
    """The application."""

    def __init__(self) -> None:
        self.raised = 0
        self.in_ours = 0
        self.arrived: Counter[str] = Counter()
        signal.signal(signal.SIGALRM, self._handle)
        sys.unraisablehook = lambda found: self._note("ignored by Python", found.exc_value)

    def run(self, loop_kind: str, seconds: float) -> None:
        """Block loops, one after the other. A signal may take a timer that stops one: there are more."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            loop = LOOPS[loop_kind]()
            loop.set_exception_handler(lambda _, told: self._note("told", told.get("exception")))
            loop.call_soon(self._block, loop)
            for delay in (0.5, 0.6, 0.7, 1.0, 2.0):
                loop.call_later(delay, loop.stop)
            try:
                loop.run_forever()
            except Late as error:
                self._note("out of the loop", error)
            while True:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    break
                except Late as error:
                    self._note("after the loop", error)
            if not loop.is_running():  # uvloop does not see that it ended
                loop.close()

    def _block(self, loop: Any) -> None:
        loop.call_soon(self._block, loop)
        until = time.perf_counter() + BLOCK_S
        while time.perf_counter() < until:
            pass
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, SOON_S))

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.raised += 1
        frames = []
        while frame is not None:
            frames.append(frame.f_code.co_filename)
            frame = frame.f_back
        self.in_ours += any(name.startswith(OURS) for name in frames[:4])
        raise Late(self.raised)

    def _note(self, how: str, error: BaseException | None) -> None:
        if isinstance(error, Late):
            self.arrived[how] += 1


def run(loop_kind: str, core_name: str, seconds: float) -> dict[str, Any]:
    """In a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.alarms", loop_kind, str(seconds)],
        cwd=ROOT,
        env={**os.environ, "OTEL_PYTHON_LOOPBLOCK_CORE": core_name},
        capture_output=True,
        text=True,
        timeout=seconds * 5 + 60,
        check=False,
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["core"] == core_name
    return found


def main() -> int:
    """Run, and print what came of it."""
    loop_kind, seconds = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    LoopBlockInstrumentor().instrument(threshold_ms=1)
    alarms = Alarms()
    alarms.run(loop_kind, float(seconds))
    lost = alarms.raised - alarms.arrived.total()
    found = {"core": core.NAME, "raised": alarms.raised, "in ours": alarms.in_ours}
    print(json.dumps({**found, **alarms.arrived, "lost": lost, "failures": guard.failures}), flush=True)
    os._exit(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
