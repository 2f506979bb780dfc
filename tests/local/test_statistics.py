from __future__ import annotations

import pytest

from otel_loopblock.local.statistics import Histogram, histogram_between, quantile
from tests.demo.records import MS, START, histogram


def test_quantile_is_a_value_that_was_seen():
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [quantile(values, share) for share in (0, 0.2, 0.5, 0.99, 1)] == [1.0, 1.0, 3.0, 5.0, 5.0]
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_mean_is_that_of_the_values_and_zero_without():
    assert Histogram(bounds=(0.01,), counts=(3, 1), sum=0.2).mean == 0.05
    assert Histogram(bounds=(0.01,), counts=(0, 0), sum=0.0).mean == 0


def test_histogram_between_is_what_the_first_export_after_each_moment_says():
    exports = [
        histogram("lag", 300, (9, 1, 0, 0, 0, 0, 0, 0)),
        histogram("lag", 100, (2, 1, 0, 0, 0, 0, 0, 0)),
        histogram("other", 200, (5, 5, 5, 5, 5, 5, 5, 5)),
        histogram("lag", 200, (4, 1, 0, 0, 0, 0, 0, 0)),
    ]
    found = histogram_between(exports, "lag", START + 50 * MS, START + 150 * MS)
    assert found is not None
    assert found.counts == (2, 0, 0, 0, 0, 0, 0, 0)
    assert found.sum == pytest.approx(0.002)


def test_histogram_between_is_nothing_without_an_export_after_the_end():
    exports = [histogram("lag", 100, (2, 1, 0, 0, 0, 0, 0, 0))]
    assert histogram_between(exports, "lag", START, START + 500 * MS) is None
