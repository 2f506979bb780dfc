"""Which call a culprit is in, at the level that a reader of its line recognises.

That is the function which the line itself calls; what is deeper down is said beside it. A library that sleeps
is not told to await asyncio.sleep: its user cannot.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import CodeType
from typing import NamedTuple, TypeAlias

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.naming import (
    display_name,
    imported_module,
    is_hook,
    is_ours,
    spelled_name,
)
from otel_loopblock.watch.evidence import RawFrame

IsKnown: TypeAlias = "Callable[[str], KnownCall | None]"
"""Finds what is known of a call."""

PASSING = ("opentelemetry", "wrapt", "functools", "contextlib", "otel_loopblock")
"""Packages whose functions only pass a call on: it is named by what stands below them."""

EXPORTING = ("opentelemetry.sdk.trace.export", "opentelemetry.sdk._logs", "opentelemetry.exporter")
"""But these do work of their own."""

RETRYING = ("tenacity", "backoff")
"""These pass a call on, too; or wait for the next try, and then nothing stands below them."""

IMPORT = "import"
"""The call of a statement of which the module is not known."""

_TESTING = "otel_loopblock.testing."
"""What the application's tests call passes their functions on, as hooks do."""

_NO_NAME = frozenset({"<module>", "<lambda>", "<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>"})

_AWAITED = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE


class Call(NamedTuple):
    """What a line was in."""

    name: str | None
    """``None`` where it was between two instructions of its own."""
    is_c: bool = False
    """Whether it left no frame of its own."""
    inner: str | None = None
    """The known call deeper down, or the C call there, where there is one."""
    is_awaited: bool = False
    """Whether the line awaits it: it is asynchronous already."""


def call_below(frames: Sequence[RawFrame], index: int, leaf: str | None, is_known: IsKnown) -> Call:
    """The call that the frame at ``index`` is in.

    Args:
        frames: outermost first.
        index: of the culprit.
        leaf: C call that the innermost frame is in.
        is_known: tells whether there is advice for a call.
    """
    named: list[RawFrame] = []
    retrying: list[RawFrame] = []
    for at in range(index + 1, len(frames)):
        frame = frames[at]
        code, _, _, module = frame
        if is_ours(code) and not (is_hook(module) or module.startswith(_TESTING)):
            leaf = None  # what we call ourselves is no call of the application's
            break
        if is_import(frame):
            return Call(import_at(frames, at))
        if code.co_name in _NO_NAME or code.co_filename.startswith("<") or is_passing(module):
            continue
        (retrying if _is_of(module, RETRYING) else named).append(frame)
    named = named or retrying
    if not named:
        return Call(leaf, leaf is not None)
    first = _called(frames[index], named)
    name = display_name(first[0], first[3]).partition(".<locals>")[0]
    return Call(name, False, _inner(name, named, leaf, is_known), bool(named[0][0].co_flags & _AWAITED))


def _inner(name: str, named: Sequence[RawFrame], leaf: str | None, is_known: IsKnown) -> str | None:
    """What is deeper than the call that is named: the known one that is deepest, else the C call."""
    deeper = [leaf] if leaf is not None else []
    deeper += [display_name(frame[0], frame[3]) for frame in reversed(named)]
    return next((each for each in deeper if each != name and is_known(each) is not None), leaf)


def _called(culprit: RawFrame, named: Sequence[RawFrame]) -> RawFrame:
    """The function that a line calls; where a decorator's wrapper stands before it, what that wraps."""
    if not is_wrapper(named[0][0]):
        return named[0]
    written = spelled_name(culprit[0], culprit[1])
    package = named[0][3].partition(".")[0]
    beyond: RawFrame | None = None
    for frame in named[1:]:
        if frame[0].co_name == written:
            return frame
        if beyond is None and not is_wrapper(frame[0]):
            # Wrappers come from anywhere; what they wrap begins another stretch of frames.
            beyond = frame
    if beyond is None:
        return named[0]
    # A closure that works itself calls all kinds of things: only its own package's counts.
    return beyond if beyond[3].partition(".")[0] == package or named.index(beyond) == 1 else named[0]


def is_wrapper(code: CodeType) -> bool:
    """Whether code is a closure, as what a decorator puts in the place of a function is."""
    return bool(code.co_flags & inspect.CO_NESTED and code.co_freevars)


def is_passing(module: str) -> bool:
    """Whether the functions of a module only pass a call on."""
    return _is_of(module, PASSING) and not _is_of(module, EXPORTING)


def is_import(frame: RawFrame) -> bool:
    """Whether a frame is of what Python imports modules with; ``importlib.metadata`` is not."""
    code, _, _, module = frame
    return module == "importlib" or code.co_filename.startswith(("<frozen importlib", "<frozen zipimport"))


def import_at(frames: Sequence[RawFrame], index: int) -> str:
    """``import pandas``: what the import that begins with the frame at ``index`` asks for."""
    if index:
        code, instruction, _, _ = frames[index - 1]
        written = imported_module(code, instruction)
        if written:
            return f"{IMPORT} {written}"
    for code, _, _, module in frames[index:]:
        if code.co_name == "<module>" and module:
            return f"{IMPORT} {module}"
    return IMPORT


def _is_of(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
