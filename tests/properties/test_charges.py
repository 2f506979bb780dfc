"""Any order of spans that end in a callback: what they take is what the model says, and nothing twice."""

from __future__ import annotations

import os

from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_loopblock.explain.stretches import Charges
from tests.properties.model import THRESHOLD, Callback, Ending, reports

EXAMPLES = int(os.environ.get("LOOPBLOCK_EXAMPLES", "0"))

callbacks = st.lists(
    # How long it blocks, then a span that ends: when it began, and how long ago it ended.
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60), st.integers(0, 15)), max_size=8),
    min_size=1,
    max_size=4,
)


@settings(max_examples=EXAMPLES or 500, derandomize=not EXAMPLES, database=None, deadline=None)
@given(callbacks=callbacks)
@example(callbacks=[[(8, 0, 15), (6, 8, 0), (0, 0, 10)]])  # it ended before what is left did
def test_charges_take_what_the_model_says(callbacks):
    charges, now = Charges(), 1
    for steps in callbacks:
        noted, taken = Callback(now), []
        for block, began, ago in steps:
            now += block
            started, ended = noted.began + began - 20, now - ago
            noted.endings.append(Ending(1, now, now, started, ended))
            taken += charges.take(noted.began, started, ended, THRESHOLD)
        noted.ended = noted.wall = now
        is_covered = charges.cover(noted.began, now, THRESHOLD)
        rest = charges.rest(noted.began, now, THRESHOLD)

        expected = list(reports(noted))
        assert sorted((each.began, each.ended - each.began) for each in taken) == sorted(
            (each.wall_began, each.duration) for each in expected if each.form == "event"
        )
        assert [(each.began, each.ended - each.began) for each in rest] == [
            (each.wall_began, each.duration) for each in expected if each.form == "span"
        ]
        if is_covered:
            assert not rest
        now += 1
