"""Which blocks are of a server's start-up."""

from __future__ import annotations

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
    ("is_of_server", "listening_since", "phase"),
    [
        (True, 0.0, "startup"),
        (True, 105.0, "startup"),  # the callback went on to listen
        (True, 99.0, None),
        (False, 0.0, None),
    ],
)
def test_block_of_a_server_that_does_not_listen_yet_is_start_up(is_of_server, listening_since, phase):
    assert phase_of(is_of_server, 100.0, listening_since) == phase
