"""The loops that run in this process are found, whatever thread they run in and however they were started."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest

from otel_loopblock.attach.running import running_loops
from tests.conftest import LOOPS


def found_from_elsewhere():
    """What a thread of ours finds while this one runs a loop."""
    found = []
    thread = threading.Thread(target=lambda: found.append(running_loops()))
    thread.start()
    thread.join()
    return found[0]


def started(work):
    """A thread that runs a loop by now, and what it has said of it."""
    running = []
    thread = threading.Thread(target=work, args=(running,))
    thread.start()
    while not running or not running[0].is_running():
        time.sleep(0.001)
    return thread, running[0]


def test_loop_of_this_thread(run):
    async def main():
        return found_from_elsewhere(), asyncio.get_running_loop()

    found, loop = run(main())
    assert found == {loop: threading.get_ident()}


def test_no_loop():
    assert found_from_elsewhere() == {}


def test_loop_that_is_the_whole_of_a_thread(loop_kind):
    loop = LOOPS[loop_kind]()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    while not loop.is_running():
        time.sleep(0.001)
    try:
        assert running_loops() == {loop: thread.ident}
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no Runner")
def test_loop_of_a_runner_in_another_thread(loop_kind):
    async def main(running):
        running.append(asyncio.get_running_loop())
        await over.wait()

    def work(running):
        with asyncio.Runner(loop_factory=LOOPS[loop_kind]) as runner:
            runner.run(main(running))

    over = asyncio.Event()
    thread, loop = started(work)
    try:
        assert running_loops() == {loop: thread.ident}
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


def test_loop_is_put_down_to_the_thread_that_runs_it(loop_kind):
    loop = LOOPS[loop_kind]()  # which is a variable of this function, too
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    while not loop.is_running():
        time.sleep(0.001)
    try:
        found = found_from_elsewhere()
        assert list(found) == [loop]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert found[loop] == thread.ident
