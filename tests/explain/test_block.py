"""The record of a block, where no stack was seen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_loopblock.explain.block import _from_target
from otel_loopblock.watch.target import Target


async def inner():
    pass


class Coroutine:
    """As asyncio hands it out; ``cr_await`` of a running one crashes CPython 3.12 now and then."""

    def __init__(self, running, below):
        self.cr_running = running
        self.cr_code = Coroutine.__init__.__code__
        self.cr_frame = None
        self.below = below

    @property
    def cr_await(self):
        assert not self.cr_running
        return self.below


@pytest.mark.parametrize(("running", "named"), [(True, "__init__"), (False, "inner")])
def test_task_is_named_by_its_innermost_coroutine_unless_it_runs(running, named):
    below = inner()
    task = SimpleNamespace(get_coro=lambda: Coroutine(running, below))

    culprit, _ = _from_target(Target(None, task))

    assert culprit.function.endswith(named)
    below.close()
