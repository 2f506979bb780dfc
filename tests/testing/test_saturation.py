"""Loops without a rest, found by ``detect_blocking`` and the plugin."""

from __future__ import annotations

import asyncio
import time

import pytest

from otel_loopblock.testing import EventLoopSaturated, detect_blocking

pytest_plugins = ["pytester"]

CALM_MS = 2000
"""So that no callback is a block on a machine that is busy with other things."""


def compute():
    until = time.perf_counter() + 0.002
    while time.perf_counter() < until:
        pass


async def fill(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        compute()
        await asyncio.sleep(0)


def test_full_loop_is_raised_with_what_filled_it(run):
    async def main():
        await asyncio.sleep(0.05)
        await fill(2.0)
        await asyncio.sleep(0.2)

    with pytest.raises(EventLoopSaturated, match="the event loop was saturated for") as caught:  # noqa: SIM117
        with detect_blocking(CALM_MS, saturation_ms=100):
            run(main())
    assert caught.value.saturations
    names = {name for each in caught.value.saturations for name, _ in each.functions}
    assert f"{__name__}.compute" in names


def test_full_loop_is_raised_also_from_within(run):
    async def main():
        async with detect_blocking(CALM_MS, raise_on_block=False, saturation_ms=100) as detected:
            await fill(1.0)
        return detected.saturations

    [saturation] = run(main())
    assert 0.1 <= saturation.duration_s < 5.0
    assert saturation.callbacks >= 1


def test_nothing_is_raised_unless_asked_for(run):
    with detect_blocking(CALM_MS) as detected:
        run(fill(0.5))
    assert detected.saturations == []


@pytest.mark.parametrize("value", [-1, "long"])
def test_wrong_value_is_an_error(value):
    with pytest.raises(ValueError, match=r"saturation_ms=.* cannot be used"):
        detect_blocking(saturation_ms=value)


def test_block_alone_is_none(run):
    async def main():
        await asyncio.sleep(0.05)
        time.sleep(0.3)
        await asyncio.sleep(0.05)

    with detect_blocking(100, raise_on_block=False, saturation_ms=100) as detected:
        run(main())
    assert detected.blocks
    assert detected.saturations == []


TESTS = """
import asyncio, time

async def fill():
    until = time.perf_counter() + 2.0
    while time.perf_counter() < until:
        pause = time.perf_counter() + 0.002
        while time.perf_counter() < pause:
            pass
        await asyncio.sleep(0)

def test_full():
    asyncio.run(fill())

def test_rests():
    asyncio.run(asyncio.sleep(0.1))
"""


def test_plugin_fails_the_test_where_asked_to(pytester):
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("--loopblock-saturation=100ms", "--loopblock-threshold=2s")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*EventLoopSaturated: the event loop was saturated for *"])


def test_plugin_refuses_what_is_no_duration(pytester):
    result = pytester.runpytest_subprocess("--loopblock-saturation=long")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--loopblock-saturation='long' cannot be used*"])
