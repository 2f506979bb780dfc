"""Tells this package's own code and callbacks, which are never blamed for a block."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType, MethodType
from typing import Any

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
"""The folder of this package."""

_APPLICATIONS = tuple(os.path.join(PACKAGE, name) + os.sep for name in ("bench", "demo"))
"""What is run there is an application, looked at like anybody's."""

_MAX_PATH = 4096
"""Characters; what is longer is no file of ours, and is not remembered."""

_HOOKS = ("otel_loopblock.hooks.", "otel_loopblock.core.", "otel_loopblock.emit.span_hooks")
"""Modules whose functions stand in the place of others'."""


def is_hook(module: str) -> bool:
    """Whether the functions of a module stand between the application and what it calls."""
    return module.startswith(_HOOKS)


def is_ours(code: CodeType) -> bool:
    """Whether ``code`` belongs to what finds and reports blocks."""
    filename = code.co_filename
    return len(filename) <= _MAX_PATH and _is_in_package(filename)


@lru_cache(maxsize=4096)
def _is_in_package(filename: str) -> bool:
    path = os.path.abspath(filename)
    return path.startswith(PACKAGE) and not path.startswith(_APPLICATIONS)


def is_our_callback(callback: Callable[..., Any] | None) -> bool:
    """Whether a loop's callback is one of ours; asks nothing of an object of the application's.

    What stands in the place of a function of the application's is not: it closes over that function.
    """
    function: object = callback
    while True:
        if type(function) is functools.partial:
            function = function.func
        elif type(function) is MethodType:
            function = function.__func__
        else:
            return (
                type(function) is FunctionType and function.__closure__ is None and is_ours(function.__code__)
            )
