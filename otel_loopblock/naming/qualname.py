"""The fully qualified name of a code object: ``module.Class.method``, ``module.outer.<locals>.inner``."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from otel_loopblock.naming.text import printable

MAX_CACHED = 4096

_names: OrderedDict[CodeType, str] = OrderedDict()


def qualified_name(code: CodeType, module: str | None) -> str:
    """Value of ``code.function.name``.

    Args:
        code: of the function.
        module: ``__name__`` of the globals it ran with; left out of the name when unknown.
    """
    name = _names.get(code)
    if name is None:
        name = printable(getattr(code, "co_qualname", None) or _search(code, module))
        _names[code] = name
        if len(_names) > MAX_CACHED:
            _names.popitem(last=False)
    return printable(f"{module}.{name}") if module else name


def _search(code: CodeType, module: str | None) -> str:
    """Python 3.10 has no ``co_qualname``: look for the function that has this code."""
    found = sys.modules.get(module or "")
    if found is not None:
        for function in _functions(vars(found), module, 0):
            name = _within(function.__code__, function.__qualname__, code, 0)
            if name is not None:
                return name
    return code.co_name


def _within(code: CodeType, name: str, wanted: CodeType, depth: int) -> str | None:
    if code is wanted:
        return name
    if depth < 5:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                inner = _within(constant, f"{name}.<locals>.{constant.co_name}", wanted, depth + 1)
                if inner is not None:
                    return inner
    return None


def _functions(namespace: Any, module: str | None, depth: int) -> Iterator[FunctionType]:
    for value in list(namespace.values()):
        yield from _unwrapped(value, 0)
        if isinstance(value, type) and depth < 3 and value.__module__ == module:
            yield from _functions(vars(value), module, depth + 1)


def _unwrapped(value: Any, depth: int) -> Iterator[FunctionType]:
    """The functions that a name stands for: methods, properties, what a decorator wrapped."""
    if depth > 5:
        return
    if isinstance(value, (staticmethod, classmethod)):
        yield from _unwrapped(value.__func__, depth + 1)
    elif isinstance(value, property):
        for part in (value.fget, value.fset, value.fdel):
            yield from _unwrapped(part, depth + 1)
    elif isinstance(value, FunctionType):
        yield value
        if "__wrapped__" in vars(value):
            yield from _unwrapped(vars(value)["__wrapped__"], depth + 1)
        for cell in value.__closure__ or ():
            try:
                yield from _unwrapped(cell.cell_contents, depth + 1)
            except ValueError:  # the cell is empty
                continue
