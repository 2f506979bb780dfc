"""Loops that block at random beside the watchdog, in a process that switches threads as often as it can.

``python -m tests.properties.races --loop uvloop --seconds 3`` prints what is wrong, one line each, then how
much was looked at. The program times its callbacks from within; each begins when the one before has ended. So
of each it is known how long it was at least, and at most: nothing depends on how fast the machine is.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from time import perf_counter

from otel_loopblock import core, guard
from otel_loopblock.runtime import runtime
from otel_loopblock.watch.monitor import Monitor
from tests.conftest import LOOPS, Telemetry

THRESHOLD_S = 0.005
LONGEST_S = 0.02


class Told:
    """A listener that keeps what it is told of callbacks."""

    threshold_s = THRESHOLD_S
    heartbeat_interval_s = 0.0
    watchdog = True
    saturation_s = 0.0
    samples = False
    max_samples = 8

    def __init__(self) -> None:
        self.blocks: list[tuple[int, float, float]] = []
        self.looks = 0

    def callback_blocked(self, monitor: Monitor, started: float, ended: float, *_: object) -> None:
        self.blocks.append((threading.get_ident(), started, ended))

    def callback_running(self, monitor: Monitor, started: float, now: float) -> None:
        self.looks += 1

    def lag_measured(self, monitor: Monitor, lag_s: float) -> None:
        """There is no heartbeat."""


class Chain:
    """Callbacks of one loop, one right after another."""

    def __init__(self, kind: str, seed: int, seconds: float, tracer) -> None:
        self.times: list[tuple[float, float]] = []
        """When each began and ended, as seen from within."""
        self._kind = kind
        self._random = random.Random(seed)
        self._seconds = seconds
        self._tracer = tracer

    def run(self) -> None:
        self.thread = threading.get_ident()
        loop = self._loop = LOOPS[self._kind]()
        loop.set_exception_handler(lambda *_: None)
        self._deadline = perf_counter() + self._seconds
        loop.call_soon(self._step)
        loop.run_forever()
        loop.close()

    def _step(self) -> None:
        began = perf_counter()
        fails = False
        try:
            block = self._random.choice((time.sleep, spin, nap))
            # Many close to the threshold, where a look may come when the callback ends.
            seconds = self._random.choice((0.0, 0.004, 0.005, 0.006, self._random.uniform(0, LONGEST_S)))
            how = self._random.randrange(4)
            if how:
                block(seconds)
            else:
                with self._tracer.start_as_current_span("a span"):
                    block(seconds)
            fails = how == 1
        finally:
            if perf_counter() < self._deadline:
                self._loop.call_soon(self._step)
            else:
                self._loop.stop()
            self.times.append((began, perf_counter()))
        if fails:
            raise RuntimeError("planned")


def spin(seconds: float) -> None:
    ended = perf_counter() + seconds
    while perf_counter() < ended:
        pass


def nap(seconds: float) -> None:
    ended = perf_counter() + seconds
    while perf_counter() < ended:
        time.sleep(0.0005)


def compare(chain: Chain, blocks: list[tuple[float, float]]) -> list[str]:
    """What is wrong with what was told of a chain."""
    times, wrong = chain.times, []
    told = [0] * len(times)
    for started, ended in blocks:
        if ended <= times[0][0] or started >= times[-1][1]:
            continue  # before the first or after the last: the loop's own
        about = [at for at, (began, over) in enumerate(times) if began < ended and started < over]
        if len(about) != 1:
            wrong.append(f"{len(about)} callbacks in a block of {ended - started:.6f} s")
            continue
        (at,) = about
        told[at] += 1
        began, over = times[at]
        if started > began or ended < over:
            wrong.append(
                f"a part of a callback: {started - began:.6f} s late, to {over - ended:.6f} s before its end"
            )
        if (at and started < times[at - 1][1]) or (at + 1 < len(times) and ended > times[at + 1][0]):
            wrong.append(f"more than a callback of {over - began:.6f} s: {ended - started:.6f} s")
        if ended - started < THRESHOLD_S:
            wrong.append(f"too short: {ended - started:.6f} s")
    for (began, over), often in zip(times, told, strict=True):
        if often > 1 or (over - began >= THRESHOLD_S and not often):
            wrong.append(f"a callback of {over - began:.6f} s was told of {often} times")
    return wrong


def main() -> int:
    """Look at one kind of loop, two of them at a time; 1 where something is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=sorted(LOOPS), required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    wanted = os.environ.get("OTEL_PYTHON_LOOPBLOCK_CORE", core.NAME)
    assert wanted == core.NAME, core.WHY
    sys.setswitchinterval(1e-6)
    telemetry, told = Telemetry(), Told()
    telemetry.instrument(
        threshold_ms=THRESHOLD_S * 1000, max_events_per_second=1e9, hang_after_ms=0, log_interval_ms=1e9
    )
    runtime.add(told)
    chains = [
        Chain(options.loop, options.seed + number, options.seconds, telemetry.tracer) for number in range(2)
    ]
    threads = [threading.Thread(target=chain.run) for chain in chains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = []
    for chain in chains:
        wrong += compare(chain, [block[1:] for block in told.blocks if block[0] == chain.thread])
    counted = sum(point.count for point in telemetry.points("event_loop.block.duration"))
    reported = [event.attributes for _, event in telemetry.events()]
    reported += [span.attributes for span in telemetry.spans("event_loop.blocked")]
    if counted != len(told.blocks):
        wrong.append(f"the histogram has {counted} of {len(told.blocks)}")
    total_s = sum(ended - started for _, started, ended in told.blocks)
    reported_s = sum(each["event_loop.block.duration"] for each in reported)
    if len(reported) < counted or reported_s > total_s + 1e-6:
        wrong.append(f"{len(reported)} reports of {reported_s:.6f} s, {counted} blocks of {total_s:.6f} s")
    if guard.failures:
        wrong.append(f"failures: {dict(guard.failures)}")
    print(*wrong, sep="\n")
    print(
        f"{options.loop}, {core.NAME}: {sum(len(chain.times) for chain in chains)} callbacks, "
        f"{counted} blocks, {told.looks} looks, {len(wrong)} wrong"
    )
    runtime.remove(told)
    return int(bool(wrong) or not counted or not told.looks)


if __name__ == "__main__":
    sys.exit(main())
