"""Processes end as they should while loops are blocked in several threads; ``tests/exits.py`` tries 500."""

from __future__ import annotations

import os

import pytest

from tests.exits import WAYS, run_child


@pytest.mark.parametrize("way", WAYS)
def test_process_ends_as_it_should(way, loop_kind):
    if way == "exits in a child" and not hasattr(os, "fork"):
        pytest.skip("no fork on this platform")
    ended = run_child(way, loop_kind)

    assert ended.is_right, ended
