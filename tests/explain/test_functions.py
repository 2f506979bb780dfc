"""Whom metrics name: one function for all blocks of a kind."""

from __future__ import annotations

import pytest

from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import Stacks, find
from otel_loopblock.watch.evidence import Endpoint, Look


def frame(name, file="/srv/shop.py", module="shop"):
    namespace = {}
    exec(compile(f"def {name.strip('<>')}(): pass", file, "exec"), namespace)
    code = namespace[name.strip("<>")].__code__
    changed = {"co_name": name, **({"co_qualname": name} if hasattr(code, "co_qualname") else {})}
    return code.replace(**changed), 0, 1, module


HANDLER, LOAD, RENDER, PART = (frame(name) for name in ("handler", "load", "render", "<genexpr>"))
ENCODE = frame("encode", "/site-packages/lib.py", "lib")
MIDDLEWARE = frame("middleware")


def named(*stacks, endpoint=None):
    """Whom the looks at these stacks, one each millisecond, have metrics name."""
    looks = [
        Look(1.0 + n / 1000, 1.0, None, 0.0, stack, None, (), endpoint=endpoint)
        for n, stack in enumerate(stacks, 1)
    ]
    place = find(looks, 1.0, Stacks(OwnCode(), lambda name: None))
    return place.shared_function or place.culprit.function


@pytest.mark.parametrize("loads", [4, 5, 6])
def test_handler_is_named_where_it_calls_two_helpers(loads):
    stacks = [(HANDLER, LOAD)] * loads + [(HANDLER, RENDER)] * (10 - loads)

    assert named(*stacks) == "shop.handler"


def test_helper_is_named_where_nearly_all_is_its_own():
    assert named(*[(HANDLER, LOAD)] * 9, (HANDLER, RENDER)) == "shop.load"


def test_comprehension_is_part_of_its_function():
    assert named(*[(HANDLER, LOAD, PART)] * 2, (HANDLER, LOAD)) == "shop.load"
    assert named((PART,)) == "shop.<genexpr>"


@pytest.mark.parametrize("loads", [2, 4])
def test_endpoint_is_named_where_a_dependency_and_the_framework_share_the_time(loads):
    endpoint = Endpoint(HANDLER, 1)
    stacks = [(MIDDLEWARE, ENCODE, LOAD)] * loads + [(MIDDLEWARE, ENCODE)] * (6 - loads)

    assert named(*stacks, endpoint=endpoint) == "shop.handler"


def test_dependency_is_named_where_it_took_the_time():
    assert named((MIDDLEWARE, ENCODE, LOAD), endpoint=Endpoint(HANDLER, 1)) == "shop.load"
