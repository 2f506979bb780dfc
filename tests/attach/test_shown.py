"""What the command writes of the blocks that come."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from otel_loopblock.attach.messages import Broken, of_block
from otel_loopblock.attach.viewer import LINES_PER_S, _Shown
from tests.attach.test_messages import BLOCK


@pytest.fixture
def shown():
    output = io.StringIO()
    shown = _Shown(Console(file=output, width=200, highlight=False))
    shown.text = output.getvalue
    return shown


def message(waited=(), **changes):
    return {"block": of_block(dataclasses.replace(BLOCK, **changes), list(waited))}


def test_block_is_a_line(shown):
    waited = [("GET /stock", 3), ("pay", 2), ("a", 1), ("b", 1), ("c", 1)]
    shown.take(message(waited, awaited_by=("checkout: shop.checkout (shop.py:12)", "Server.serve")))
    (line,) = shown.text().splitlines()
    assert line.partition(" ")[2] == (
        "blocked 52 ms: shop.py:42 shop.charge_card → time.sleep (wait). Use await asyncio.sleep(...). "
        "Awaited by checkout: shop.checkout (shop.py:12) ← Server.serve. "
        "Waited for it: 3 × GET /stock, 2 × pay, 1 × a, 2 more."
    )


def test_block_that_lasts_is_told_again_and_counted_once(shown):
    shown.take(message(duration_s=2.0, ongoing=True))
    shown.take(message(duration_s=4.5))
    first, second = shown.text().splitlines()
    assert "blocked 2.0 s" in first
    assert "(wait) and still is." in first
    assert "blocked 4.5 s" in second
    shown.sum_up()
    (row,) = [line for line in shown.text().splitlines() if line.startswith("charge_card  ")]
    assert row.split()[4] == "1"


def test_flood_is_counted_but_has_no_line_each(shown, monkeypatch):
    monkeypatch.setattr("otel_loopblock.attach.viewer.time.monotonic", lambda: 1000.0)
    count = LINES_PER_S + 30
    for number in range(count):
        shown.take(message(started_unix_ns=BLOCK.started_unix_ns + number * 10**9))
    assert len(shown.text().splitlines()) == LINES_PER_S
    shown.sum_up()
    assert "30 blocks had no line of their own" in shown.text()
    (row,) = [line for line in shown.text().splitlines() if line.startswith("charge_card  ")]
    assert str(count) in row.split()


def test_nothing_is_said_to_be_nothing(shown):
    shown.take({"hello": {}})
    shown.sum_up()
    assert shown.text() == "otel-loopblock attach: nothing has blocked its loops\n"


def test_what_cannot_be_understood_is_refused(shown):
    with pytest.raises(Broken):
        shown.take({"block": {"waited": 3}})


def test_markup_of_a_name_is_shown_as_it_is(shown):
    shown.take(message(advice=None, call="[red]x[/]"))
    assert "[red]x[/]" in shown.text()
