"""Which blocks are of a server's start-up."""

from __future__ import annotations

import pytest

from otel_loopblock.explain.phase import phase_of
from otel_loopblock.watch.evidence import Evidence, Look, Reading

CODE = phase_of.__code__


def evidence(*stacks):
    looks = tuple(
        Look(100.0 + n, 100.0 + n, None, 0.0, tuple((CODE, 0, 1, module) for module in stack), None, ())
        for n, stack in enumerate(stacks)
    )
    return Evidence(100.0, looks, None, Reading(110.0, None, 0.0), (), 1, ())


SERVER = ("uvicorn.server", "uvicorn.config", "app")


@pytest.mark.parametrize(
    ("stacks", "listening_since", "phase"),
    [
        ([SERVER], 0.0, "startup"),
        ([SERVER], 105.0, "startup"),  # the callback went on to listen
        ([SERVER], 99.0, None),
        ([("app", "json")], 0.0, None),
        ([("uvicorn.protocols.http.h11_impl", "app")], 0.0, None),
        ([("app", "importlib"), SERVER], 0.0, "startup"),  # of the deeper stack the outermost are not there
        ([], 0.0, None),
    ],
)
def test_block_of_a_server_that_does_not_listen_yet_is_start_up(stacks, listening_since, phase):
    assert phase_of(evidence(*stacks), "asyncio.locks", 100.0, listening_since) == phase


def test_task_of_a_server_tells_where_nobody_looked():
    assert phase_of(evidence(), "uvicorn.server", 100.0, 0.0) == "startup"
    assert phase_of(evidence(), "uvicorn.server", 100.0, 99.0) is None
    assert phase_of(evidence(), None, 100.0, 0.0) is None
