"""What the package asks to be installed: little, and nothing in just any version."""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]

FEW = {"opentelemetry-api", "opentelemetry-instrumentation", "opentelemetry-semantic-conventions", "wrapt"}


def requirements():
    optional = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for group in (PROJECT["dependencies"], *optional) for text in group]


def test_package_alone_needs_few_others():
    assert {Requirement(text).name for text in PROJECT["dependencies"]} == FEW


def test_every_dependency_has_a_lower_bound_and_none_is_pinned():
    found = [each for each in requirements() if each.name != "otel-loopblock"]
    assert len(found) > len(FEW)
    for each in found:
        operators = {specifier.operator for specifier in each.specifier}
        assert ">=" in operators, each
        assert operators <= {">=", "<"}, each


def test_upper_bounds_are_known_and_few():
    bounded = {
        each.name for each in requirements() if any(specifier.operator == "<" for specifier in each.specifier)
    }
    assert bounded == {"grafana-foundation-sdk", "wrapt"}
