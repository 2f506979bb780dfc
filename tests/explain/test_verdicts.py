"""One line does not get two opposite answers about threads."""

from __future__ import annotations

import pytest

from otel_loopblock.explain.advice import AdviceTable
from otel_loopblock.explain.verdicts import MAX_PLACES, Verdicts

PLACE = ("app.py", 7, "pandas.read_excel")


def test_place_that_said_both_is_disputed_from_then_on():
    verdicts = Verdicts()

    assert verdicts.agrees(PLACE, False)
    assert verdicts.agrees(PLACE, None)
    assert not verdicts.agrees(PLACE, True)
    assert not verdicts.agrees(PLACE, False)
    assert verdicts.agrees(("app.py", 8, "pandas.read_excel"), True)


def test_places_that_are_remembered_are_bounded():
    verdicts = Verdicts()
    for line in range(2 * MAX_PLACES):
        verdicts.agrees(("app.py", line, ""), True)

    assert len(verdicts._said) == MAX_PLACES


@pytest.mark.parametrize("cause", ["cpu", "gil_held"])
@pytest.mark.parametrize("releases_gil", [True, False, None])
def test_disputed_advice_speaks_of_no_thread(cause, releases_gil):
    advice = AdviceTable().advise(cause, "pandas.read_excel", releases_gil=releases_gil, is_disputed=True)

    assert "thread" not in advice
    assert "process pool" in advice


@pytest.mark.parametrize("inner", ["time.sleep", "socket.socket.recv", None])
def test_what_waits_deep_inside_is_said_beside_the_call(inner):
    advice = AdviceTable().advise("wait", "acme.client.fetch", inner=inner)

    assert "asyncio.sleep" not in advice
    assert "open_connection" not in advice
    assert "acme.client.fetch" in advice
    assert inner is None or inner in advice
    assert len(advice) <= 120


@pytest.mark.parametrize("cause", ["wait", "cpu", "gil_held", "unknown"])
def test_what_is_awaited_is_not_told_to_be_asynchronous(cause):
    advice = AdviceTable().advise(cause, "acme.fetch", inner="subprocess.Popen", is_awaited=True)

    assert advice is None or ("Use await" not in advice and "to_thread" not in advice)
