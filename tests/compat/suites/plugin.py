"""Suites with the plugin of pytest on: a test that differs must have failed for the project's own code."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from tests.compat.compare import Comparison, Difference, compare
from tests.compat.suites.environment import prepare
from tests.compat.suites.run import PLUGIN_WAYS, run
from tests.compat.suites.table import Suite

_HEADLINE = re.compile(r"(?P<file>[^\n]+?):\d+: [^\n]+ blocked the event loop for [^\n]+")


def compare_with_plugin(python: str, suite: Suite) -> Comparison:
    """Run one suite without the plugin and with it.

    Raises:
        Missing: its environment could not be made.
    """
    found = compare(suite.name, PLUGIN_WAYS, partial(run, suite, prepare(suite, python)))
    found.differences = [explained(each, suite) for each in found.differences]
    return found


def explained(found: Difference, suite: Suite) -> Difference:
    """The difference; where it is a block by a line outside the folders of the tests, that is its reason."""
    headline = _HEADLINE.match(found.why)
    if headline is None or any(headline["file"].startswith(f"{folder}/") for folder in suite.tests):
        return found
    return replace(found, reason=headline[0])
