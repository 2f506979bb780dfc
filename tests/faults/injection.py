"""Finds the functions of the package, and has one raise wherever it is called from."""

from __future__ import annotations

import gc
import importlib
import inspect
import os
import pkgutil
import warnings
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

import otel_loopblock

FOLDER = os.path.dirname(otel_loopblock.__file__) + os.sep

LEFT_OUT = ("cli", "demo", "bench", "testing", "local")
"""Rooms that no instrumented application runs."""

KINDS: dict[str, type[BaseException]] = {
    "RuntimeError": RuntimeError,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "KeyboardInterrupt": KeyboardInterrupt,
}

_FUNCTION = inspect.CO_OPTIMIZED | inspect.CO_NEWLOCALS
_PARTS_OF_ONE = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


def load(core: str) -> None:
    """Import all modules that an instrumented application may come to import."""
    for found in pkgutil.walk_packages(otel_loopblock.__path__, "otel_loopblock."):
        room = found.name.split(".")[1]
        if room in LEFT_OUT or found.name == "otel_loopblock.core._native":
            continue
        if core == "native" and found.name.startswith("otel_loopblock.core.pure"):
            continue
        importlib.import_module(found.name)


def functions() -> dict[str, CodeType]:
    """The code of every function, method and lambda by its name, ``module:qualname``; closures as well."""
    found: dict[str, CodeType] = {}
    seen: set[int] = set()
    for function in sorted(
        live(), key=lambda each: (each.__code__.co_filename, each.__code__.co_firstlineno)
    ):
        for name, code in _with_nested(function.__qualname__, function.__code__):
            if id(code) in seen or code.co_name in _PARTS_OF_ONE:
                continue
            seen.add(id(code))
            key = f"{_module(code)}:{name}"
            found[key if key not in found else f"{key}@{code.co_firstlineno}"] = code
    return found


def live() -> list[FunctionType]:
    """All functions of the package that there are now."""
    return [each for each in gc.get_objects() if type(each) is FunctionType and _is_looked_at(each.__code__)]


def _is_looked_at(code: CodeType) -> bool:
    name = code.co_filename
    return name.startswith(FOLDER) and name[len(FOLDER) :].split(os.sep)[0] not in LEFT_OUT


def _module(code: CodeType) -> str:
    parts = code.co_filename[len(FOLDER) : -len(".py")].split(os.sep)
    return ".".join(part for part in parts if part != "__init__") or "__init__"


def _with_nested(name: str, code: CodeType) -> Iterator[tuple[str, CodeType]]:
    is_function = code.co_flags & _FUNCTION == _FUNCTION
    if is_function:
        yield name, code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _with_nested(f"{name}.<locals>.{each.co_name}" if is_function else name, each)


class Fault:
    """A function that raises.

    Args:
        code: the function's.
        kind: what it raises.
        known: functions that ``gc.get_objects`` does not tell of, as they are frozen.
    """

    def __init__(self, code: CodeType, kind: type[BaseException], known: Sequence[FunctionType] = ()) -> None:
        self._code = code
        self._known = known
        self._calls: list[None] = []
        self._raising = _raising(code, kind, self._calls)

    @property
    def calls(self) -> int:
        """How often it was called."""
        return len(self._calls)

    def inject(self) -> None:
        """Break it: those that are there, and those that are made from now on."""
        replaced = {id(self._code): (self._code, self._raising)}
        for function in (*self._known, *live()):
            code = _replace(function.__code__, replaced)
            if code is not function.__code__:
                function.__code__ = code


def _replace(code: CodeType, replaced: dict[int, tuple[CodeType, CodeType]]) -> CodeType:
    """The code with what is nested in it replaced; the same object where that is nothing."""
    known = replaced.get(id(code))
    if known is None:
        consts = tuple(
            _replace(each, replaced) if isinstance(each, CodeType) else each for each in code.co_consts
        )
        is_changed = any(new is not old for new, old in zip(consts, code.co_consts, strict=True))
        # The old one is kept: another one could get its id.
        known = replaced[id(code)] = code, code.replace(co_consts=consts) if is_changed else code
    return known[1]


def _raising(code: CodeType, kind: type[BaseException], calls: list[None]) -> CodeType:
    """What takes the place of a code: it looks like that one, and raises.

    What it calls is among its constants, so the function's globals need nothing; no frame of ours is in the
    traceback.
    """
    free = ", ".join(code.co_freevars)
    lines = [
        f"def around({free}):",
        "  def inner(*args, **kwargs):",
        "    '@calls'(None); raise '@kind'('injected')",
    ]
    if free:
        lines.append(f"    {free}")
    lines.append("  return inner")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # 'str' object is not callable
        module = compile("\n".join(lines), code.co_filename, "exec")
    around = next(each for each in module.co_consts if isinstance(each, CodeType))
    inner = next(each for each in around.co_consts if isinstance(each, CodeType))
    called: dict[Any, Any] = {"@calls": calls.append, "@kind": kind}
    changes: dict[str, Any] = {
        "co_consts": tuple(
            called.get(each, each) if isinstance(each, str) else each for each in inner.co_consts
        ),
        "co_name": code.co_name,
        "co_firstlineno": code.co_firstlineno,
    }
    if hasattr(code, "co_qualname"):
        changes["co_qualname"] = code.co_qualname
    made = inner.replace(**changes)
    assert made.co_freevars == code.co_freevars, (made.co_freevars, code.co_freevars)
    return made
