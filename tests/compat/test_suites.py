"""Suites of other projects come out the same with the package on: small ones here, all of them by command."""

from __future__ import annotations

import sys

import pytest

from tests.compat.compare import Missing
from tests.compat.suites.run import WAYS, compare_suite
from tests.compat.suites.table import SUITES

QUICK = ("janus", "asgiref", "opentelemetry-instrumentation-asyncio")


@pytest.mark.parametrize(
    "suite", [suite for suite in SUITES if suite.name in QUICK], ids=lambda suite: suite.name
)
def test_same_comes_out_with_the_package_on(suite):
    try:
        found = compare_suite(sys.executable, suite)
    except Missing as missing:
        pytest.skip(str(missing))

    assert found.faults() == []
    assert all(found.runs[way].package["beats"] > 0 for way in WAYS)
