"""Which blocks are of a server's start-up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_loopblock.explain.phase import phase_of, starts_server

CODE = phase_of.__code__


def stack(*modules):
    return tuple((CODE, 0, 1, module) for module in modules)


@pytest.mark.parametrize(
    ("modules", "starts"),
    [
        (("uvicorn.server", "uvicorn.config", "app"), True),
        (("app", "json"), False),
        (("uvicorn.protocols.http.h11_impl", "app"), False),
        ((), False),
    ],
)
def test_server_is_told_by_its_modules(modules, starts):
    assert starts_server(stack(*modules)) == starts


@pytest.mark.parametrize(
    ("listening", "asked", "of_server", "own", "phase"),
    [
        (0.0, 0.0, True, True, "startup"),
        (105.0, 0.0, True, True, "startup"),  # the callback went on to listen
        (0.0, 0.0, False, False, None),
        (99.0, 0.0, True, False, "startup"),  # nobody has connected yet
        (99.0, 0.0, False, False, "startup"),
        (99.0, 0.0, True, True, None),  # runs in the background, or ends the lifespan
        (99.0, 105.0, False, False, "startup"),
        (95.0, 99.0, True, False, None),
        (0.0, 99.0, True, True, None),  # nobody told when it listened
    ],
)
def test_block_before_anybody_asks_a_server_is_start_up(listening, asked, of_server, own, phase):
    monitor = SimpleNamespace(listening_since=listening, asked_since=asked)

    assert phase_of(monitor, 100.0, is_of_server=of_server, is_own=own) == phase
