"""The endpoint is read from the scope that frames of a framework hold; nothing of the application runs."""

from __future__ import annotations

import functools
import threading

import pytest

from otel_loopblock import core
from otel_loopblock.watch.endpoint import MAX_SCOPES, find_endpoint


def handler():
    """What answers."""


@functools.wraps(handler)
def decorated():
    """What a decorator has put in its place."""


class Class:
    def get(self):
        """Answers GET."""

    def __call__(self):
        """Answers as an ASGI application."""


class Hostile(dict):
    def get(self, *args):
        raise AssertionError("asked")


def app(scope):
    """An ASGI application."""


FRAME = app.__code__, 4, 1, __name__
OTHER = handler.__code__, 0, 1, __name__


def found(scope, frames=(OTHER, FRAME, OTHER)):
    return find_endpoint(frames, lambda code, instruction, name: (scope,))


@pytest.mark.parametrize(
    ("endpoint", "function"),
    [
        (handler, handler),
        (decorated, handler),
        (functools.partial(handler), handler),
        (Class.get, Class.get),
        (Class().get, Class.get),
        (Class, Class.get),
        (Class(), Class.__call__),
    ],
)
def test_endpoint_is_the_function_behind_what_the_framework_holds(endpoint, function):
    endpoint = found({"endpoint": endpoint, "method": "GET"})

    code, _, line, module = endpoint.function
    assert code is function.__code__
    assert line == function.__code__.co_firstlineno
    assert module == __name__
    assert endpoint.depth == 1


@pytest.mark.parametrize(
    "scope", [{}, {"endpoint": None}, {"endpoint": len}, Hostile(endpoint=handler), None, 7]
)
def test_scope_without_a_function_has_no_endpoint(scope):
    assert found(scope) is None


def test_few_frames_are_asked():
    asked = []

    find_endpoint([FRAME] * 50, lambda *where: asked.append(where) or ({},))

    assert len(asked) == MAX_SCOPES


def test_variable_of_an_outer_frame_is_read():
    """By the core that is active; tests/core tries both on the innermost one."""
    entered, leave = threading.Event(), threading.Event()

    def outer(scope):
        entered.set()
        leave.wait(30)
        return scope

    thread = threading.Thread(target=outer, args=({"endpoint": handler},))
    thread.start()
    entered.wait(30)
    try:
        frames = tuple(reversed(core.stack(thread.ident, 100)))
        endpoint = find_endpoint(frames, functools.partial(core.variable, thread.ident))
    finally:
        leave.set()
        thread.join(30)

    assert endpoint.function[0] is handler.__code__
    assert frames[endpoint.depth][0] is outer.__code__
