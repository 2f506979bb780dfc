"""What a block leaves in memory goes without the garbage collector: a pause of its is a block as well."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

BLOCKS = 5


@pytest.fixture
def garbage():
    """What the collector finds from now on."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


@pytest.mark.parametrize("wakes", [asyncio.sleep, None], ids=["timer", "thread"])
def test_block_leaves_no_circle(telemetry, run, garbage, wakes):
    telemetry.instrument(threshold_ms=5)

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(BLOCKS):
            time.sleep(0.03)
            await (wakes(0) if wakes is not None else loop.run_in_executor(None, int))
        await asyncio.sleep(0.1)  # until nobody looks any more at who waited
        assert len(telemetry.spans()) == BLOCKS
        telemetry.exporter.clear()
        gc.collect()
        return [each for each in garbage if type(each).__module__.startswith("otel_loopblock")]

    assert run(main()) == []
