"""Which function answers the request whose frames are on a stack, as ASGI frameworks note it in the scope.

Starlette, FastAPI and others that follow them put it under ``endpoint``. It is read without running anybody's
code, and no object of the application's is kept.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeAlias

from otel_loopblock.watch.evidence import Endpoint, RawFrame

MAX_SCOPES = 4
"""Frames that are asked for their scope: the innermost ones, one of them mostly has it."""

_MAX_WRAPPERS = 10

Variable: TypeAlias = "Callable[[CodeType, int, str], tuple[Any] | None]"
"""Reads a local variable of the frame that is at an instruction of a code."""


def find_endpoint(frames: Sequence[RawFrame], variable: Variable) -> Endpoint | None:
    """The endpoint of the request that a stack answers.

    Args:
        frames: outermost first.
        variable: reads their local variables.
    """
    asked = 0
    for depth in range(len(frames) - 1, -1, -1):
        code, instruction, _, _ = frames[depth]
        # All ASGI applications and middleware are called so: by position, under this name by custom.
        if "scope" not in code.co_varnames and "scope" not in code.co_cellvars:
            continue
        found = variable(code, instruction, "scope")
        if found is not None and type(found[0]) is dict:
            function = _function(found[0])
            if function is not None:
                return Endpoint(function, depth)
            asked += 1
            if asked == MAX_SCOPES:
                break
    return None


def _function(scope: dict[Any, Any]) -> RawFrame | None:
    return endpoint_of(scope.get("endpoint"), scope.get("method"))


def endpoint_of(found: Any, method: Any) -> RawFrame | None:
    """The function of an endpoint, which may be wrapped, or a class; ``None`` where there is none.

    Args:
        found: what a scope has as ``endpoint``.
        method: what it has as ``method``.
    """
    for _ in range(_MAX_WRAPPERS):
        if type(found) is functools.partial:
            found = found.func
        elif type(found) is MethodType:
            found = found.__func__
        elif type(found) is FunctionType:
            inner = vars(found).get("__wrapped__")
            if inner is None:
                module = found.__globals__.get("__name__")
                code = found.__code__
                return code, -1, code.co_firstlineno, module if type(module) is str else ""
            found = inner
        elif issubclass(type(found), type):  # a class with a method per HTTP method, or an ASGI application
            names = (method.lower(), "__call__") if type(method) is str else ("__call__",)
            found = _of_class(found, names)
        elif found is not None:
            found = _of_class(type(found), ("__call__",))
        else:
            return None
    return None


def _of_class(kind: Any, names: Sequence[str]) -> Any:
    for name in names:
        found = inspect.getattr_static(kind, name, None)
        if type(found) is FunctionType:
            return found
    return None
