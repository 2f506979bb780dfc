"""From sampled stacks to words: the culprit, the call under it, the stack as text.

Pure functions over :class:`otel_loopblock.watch.evidence.Look`; no file is opened, the source is never read.
"""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, NamedTuple

from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stacktrace import fold, render
from otel_loopblock.naming import (
    display_name,
    is_hook,
    is_ours,
    printable_path,
    qualified_name,
)
from otel_loopblock.watch.evidence import Look, RawFrame

TRANSPARENT = frozenset(
    {"opentelemetry", "wrapt", "functools", "contextlib", "otel_loopblock", "tenacity", "backoff"}
)
"""Packages whose frames only pass a call on; the call is named by what stands below them."""

_TESTING = "otel_loopblock.testing."
"""What the application's tests call passes their functions on, as hooks do."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One line of a stack."""

    function: str
    """Fully qualified: module and qualified name."""
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a callback was blocked."""

    culprit: Frame | None
    """Innermost frame of the application's own code, the one seen most; of any code where none is."""
    call: str | None
    """The library or C call that the culprit was in; ``None`` when it was computing itself."""
    call_is_c: bool
    """Whether ``call`` left no frame of its own."""
    stack: tuple[RawFrame, ...]
    """The stack that was seen at the culprit's line last."""


class Seen(NamedTuple):
    """What one sampled stack says."""

    frames: tuple[RawFrame, ...]
    culprit: RawFrame | None
    frame: Frame | None
    """The culprit, named."""
    call: str | None
    call_is_c: bool


class Stacks:
    """Reads sampled stacks, and remembers what it read: on the worker's thread, mostly.

    Args:
        is_own: tells the application's own code.
        is_known: tells whether a call is one that there is advice for; such a name is preferred.
        depth: innermost lines to show.
        full: whether all frames are shown, those of frameworks as well.
    """

    def __init__(
        self, is_own: OwnCode, is_known: Callable[[str], object], depth: int = 32, *, full: bool = False
    ) -> None:
        self.is_own = is_own
        self._is_known = is_known
        self._depth = depth
        self._full = full
        # By identity: to hash a stack costs more than to read it, a code object hashes all its instructions.
        self._seen: OrderedDict[int, Seen] = OrderedDict()
        self._texts: OrderedDict[int, tuple[tuple[RawFrame, ...], str | None, str]] = OrderedDict()

    def read(self, look: Look) -> Seen:
        """What a look says."""
        seen = self._seen.get(id(look.frames))
        if seen is None or seen.frames is not look.frames:
            index = _culprit_index(look.frames, self.is_own)
            if index is None:
                seen = Seen(look.frames, None, None, look.call, True)
            else:
                call, is_c = _call_below(look, index, self._is_known)
                culprit = look.frames[index]
                seen = Seen(look.frames, culprit, to_frame(culprit), call, is_c)
            _keep(self._seen, id(look.frames), seen)
        return seen

    def text(self, frames: tuple[RawFrame, ...], call: str | None) -> str:
        """A stack as text, as :mod:`~otel_loopblock.explain.stacktrace` renders it."""
        known = self._texts.get(id(frames))
        if known is None or known[0] is not frames or known[1] != call:
            if self._full:
                text = render(frames, self._depth, call)
            else:
                kept = {i for i, (code, *_) in enumerate(frames) if self.is_own(code)}
                culprit = _culprit_index(frames, self.is_own)
                if culprit is not None:  # and the call that it was in
                    kept |= {culprit, culprit + 1}
                text = fold(frames, kept, self._depth, call)
            known = (frames, call, text)
            _keep(self._texts, id(frames), known)
        return known[2]


MAX_REMEMBERED = 128
"""Stacks that are remembered."""


def _keep(memory: OrderedDict[int, Any], key: int, value: object) -> None:
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        with contextlib.suppress(KeyError):  # the other thread took it
            memory.popitem(last=False)


def find(looks: Sequence[Look], began: float, stacks: Stacks) -> Place:
    """Work out where a callback was blocked.

    Args:
        looks: the samples that fell into the stretch, oldest first; may be empty.
        began: ``perf_counter`` at the start of the stretch.
        stacks: reads them.
    """
    # A look stands for the time since the one before: what held the GIL is seen once, at its end.
    weighed: list[tuple[Seen, float]] = []
    since = began
    for look in looks:
        weight = max(1e-6, look.at - since)
        since = look.at
        if weighed and weighed[-1][0].frames is look.frames:
            weighed[-1] = (weighed[-1][0], weighed[-1][1] + weight)
        else:
            weighed.append((stacks.read(look), weight))
    lines: dict[tuple[int, int], float] = {}
    functions: dict[int, float] = {}
    for seen, weight in weighed:
        if seen.culprit is not None:
            code, line = id(seen.culprit[0]), seen.culprit[2]
            functions[code] = functions.get(code, 0.0) + weight
            lines[code, line] = lines.get((code, line), 0.0) + weight
    if not lines:
        return Place(None, looks[-1].call if looks else None, True, ())
    blamed = max(functions, key=lambda code: functions[code])
    line = max((weight, line) for (code, line), weight in lines.items() if code == blamed)[1]
    calls: dict[tuple[str | None, bool], float] = {}
    last: Seen | None = None
    for seen, weight in weighed:
        if seen.culprit is not None and id(seen.culprit[0]) == blamed and seen.culprit[2] == line:
            call = (seen.call, seen.call_is_c)
            calls[call] = calls.get(call, 0.0) + weight
            last = seen
    assert last is not None
    # A call seen even once says more than "between two instructions of the culprit itself".
    named = [(weight, call) for call, weight in calls.items() if call[0] is not None]
    name, is_c = max(named, key=lambda item: item[0])[1] if named else (None, False)
    if named and 4 * sum(weight for weight, _ in named) < sum(calls.values()):
        name, is_c = None, False
    return Place(last.frame, name, is_c, last.frames)


def _culprit_index(frames: Sequence[RawFrame], is_own: OwnCode) -> int | None:
    inwards_out = [index for index in range(len(frames) - 1, -1, -1) if not is_ours(frames[index][0])]
    for index in inwards_out:
        if is_own(frames[index][0]):
            return index
    # No line of the application's: the innermost line of a library that is not Python's own.
    for index in inwards_out:
        name = frames[index][3].partition(".")[0]
        if name not in sys.stdlib_module_names and name not in TRANSPARENT and name:
            return index
    return inwards_out[0] if inwards_out else None


def _call_below(look: Look, index: int, is_known: Callable[[str], object]) -> tuple[str | None, bool]:
    """The call that the frame at ``index`` is in, at the level a user recognises."""
    first: str | None = None
    for code, _, _, module in look.frames[index + 1 :]:
        if is_ours(code) and not (is_hook(module) or module.startswith(_TESTING)):
            return first, first is None  # what we call ourselves is no call of the application's
        if first is None and code.co_filename.startswith("<frozen importlib"):
            return "import", False
        if code.co_name in {"<module>", "<lambda>", "<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>"}:
            continue
        if module.partition(".")[0] in TRANSPARENT:
            continue
        name = display_name(code, module)
        if is_known(name):
            return name, False
        if first is None:
            first = name
    if look.call is not None and is_known(look.call):
        return look.call, first is None
    if first is not None:
        return first, False
    return look.call, True


def to_frame(raw: RawFrame) -> Frame:
    """Name a sampled frame."""
    code, _, line, module = raw
    return frame_of(code, line, module)


def frame_of(code: CodeType, line: int, module: str | None) -> Frame:
    """Name a line of a function."""
    return Frame(qualified_name(code, module), printable_path(code.co_filename), line)
