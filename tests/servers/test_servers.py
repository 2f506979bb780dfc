"""The part of it that needs no other environment: workers and the reloader of uvicorn."""

from __future__ import annotations

import sys

import pytest

from tests.servers.commands import SERVED
from tests.servers.running import ON_THE_REQUEST, observe


@pytest.mark.parametrize(
    ("server", "loop"), [("uvicorn --workers 2", "asyncio"), ("uvicorn --reload", "uvloop")]
)
def test_block_in_a_handler_is_on_the_span_of_its_request(server, loop):
    (served,) = (each for each in SERVED if (each.server, each.framework) == (server, "FastAPI"))

    assert observe(sys.executable, served, loop) == (ON_THE_REQUEST, loop)
