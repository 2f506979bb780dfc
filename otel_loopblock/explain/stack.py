"""From sampled stacks to words: the culprit, the call under it, the stack as text.

Pure functions over :class:`otel_loopblock.watch.evidence.Look`; no file is opened, the source is never read.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any, NamedTuple

from otel_loopblock.explain.advice.known import WAITING
from otel_loopblock.explain.calls import IMPORT, Call, IsKnown, call_below, is_import
from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.phase import starts_server
from otel_loopblock.explain.shared import Sample, blame, shared_path
from otel_loopblock.explain.stacktrace import fold, render
from otel_loopblock.naming import has_just_begun, is_ours, printable_path, qualified_name
from otel_loopblock.watch.evidence import Look, RawFrame


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
    """Innermost frame of the application's own code, the one seen most. Where none is: the function that
    answers the request, else the frame that nearly all samples share."""
    call: Call
    """The library or C call that the culprit was in."""
    leaf: str | None
    """The C call at the end of ``stack``."""
    stack: tuple[RawFrame, ...]
    """The stack that was seen at the culprit's line last."""
    shared_function: str | None = None
    """The innermost function of the application's own that nearly all samples share. Of a handler that calls
    two helpers that is the handler, whichever of the two took longer this time."""


NOWHERE = Place(None, Call(None), None, ())


class Seen(NamedTuple):
    """What one sampled stack says."""

    look: Look
    held: bool
    culprit: RawFrame | None
    """The innermost frame of the application's own."""
    functions: tuple[RawFrame, ...]
    """The one that answers the request, then the application's own on the stack, outermost first."""
    call: Call
    sample: Sample
    """What is left of it once what had not begun by then is taken away; its weight is to be set."""
    starts_server: bool
    """Whether it is of code that a server runs to start."""


class Stacks:
    """Reads sampled stacks, and remembers what it read: on the worker's thread, mostly.

    Args:
        is_own: tells the application's own code.
        is_known: finds what is known of a call.
        depth: innermost lines to show.
        full: whether all frames are shown, those of frameworks as well.
    """

    def __init__(self, is_own: OwnCode, is_known: IsKnown, depth: int = 32, *, full: bool = False) -> None:
        self.is_own = is_own
        self.is_known = is_known
        self._depth = depth
        self._full = full
        # By identity: to hash a stack costs more than to read it, a code object hashes all its instructions.
        self._seen: OrderedDict[int, Seen] = OrderedDict()
        self._texts: OrderedDict[int, tuple[tuple[RawFrame, ...], str | None, str]] = OrderedDict()

    def read(self, look: Look, *, held: bool) -> Seen:
        """What a look says.

        Args:
            look: the look.
            held: whether it came late because the loop's thread kept the GIL.
        """
        seen = self._seen.get(id(look.frames))
        if seen is None or seen.look.frames is not look.frames or seen.held is not held:
            seen = self._read(look, held)
            _keep(self._seen, id(look.frames), seen)
        return seen

    def _read(self, look: Look, held: bool) -> Seen:
        frames, leaf = _before_fork_hooks(look)
        if held:
            frames, leaf = _before_the_look(frames, leaf, self.is_known)
        index = own_index(frames, self.is_own, look.endpoint.depth if look.endpoint is not None else 0)
        culprit, call = None, Call(None)
        if index is not None:
            culprit, call = frames[index], call_below(frames, index, leaf, self.is_known)
        sample = Sample(frames, leaf, look.endpoint, 0.0)
        functions = self._functions(look, frames, index)
        return Seen(look, held, culprit, functions, call, sample, starts_server(look.frames))

    def _functions(self, look: Look, frames: Sequence[RawFrame], culprit: int | None) -> tuple[RawFrame, ...]:
        endpoint = look.endpoint
        begin = endpoint.depth if endpoint is not None else 0
        inner = frames[begin : culprit + 1] if culprit is not None else ()
        own = [each for each in inner if self.is_own(each[0], each[3])]
        # A comprehension is part of the function around it; from Python 3.12 on most have no frame.
        functions = [each for each in own if each[0].co_name not in COMPREHENSIONS] or own
        if endpoint is not None and all(each[0] is not endpoint.function[0] for each in functions):
            functions.insert(0, endpoint.function)  # it has not begun, or has returned
        return tuple(functions)

    def text(self, frames: tuple[RawFrame, ...], call: str | None) -> str:
        """A stack as text, as :mod:`~otel_loopblock.explain.stacktrace` renders it."""
        known = self._texts.get(id(frames))
        if known is None or known[0] is not frames or known[1] != call:
            if self._full:
                text = render(frames, self._depth, call)
            else:
                kept = {at for at, (code, _, _, module) in enumerate(frames) if self.is_own(code, module)}
                culprit = own_index(frames, self.is_own)
                if culprit is not None:  # and the call that it was in
                    kept.add(culprit + 1)
                else:
                    kept.update(range(len(frames) - SHOWN_OF_OTHERS, len(frames)))
                text = fold(frames, kept, self._depth, call)
            known = (frames, call, text)
            _keep(self._texts, id(frames), known)
        return known[2]


COMPREHENSIONS = frozenset({"<genexpr>", "<listcomp>", "<dictcomp>", "<setcomp>"})
"""Names of code that has a frame of its own, and that nobody calls a function."""

SHOWN_OF_OTHERS = 8
"""Innermost frames that are shown of a stack that has none of the application's."""

MAX_REMEMBERED = 128
"""Stacks that are remembered."""


def _keep(memory: OrderedDict[int, Any], key: int, value: object) -> None:
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        with contextlib.suppress(KeyError):  # the other thread took it
            memory.popitem(last=False)


def find(looks: Sequence[Look], began: float, stacks: Stacks, held: Container[float] = ()) -> Place:
    """Work out where a callback was blocked.

    Args:
        looks: the samples that fell into the stretch, oldest first; may be empty.
        began: ``perf_counter`` at the start of the stretch.
        stacks: reads them.
        held: when looks were taken that came late because the loop's thread kept the GIL.
    """
    # A look stands for the time since the one before: what held the GIL is seen once, at its end.
    weighed: list[tuple[Seen, float]] = []
    since = began
    for look in looks:
        weight = max(1e-6, look.at - since)
        since = look.at
        if weighed and weighed[-1][0].look.frames is look.frames and weighed[-1][0].held is (look.at in held):
            weighed[-1] = (weighed[-1][0], weighed[-1][1] + weight)
        else:
            weighed.append((stacks.read(look, held=look.at in held), weight))
    foreign = [seen.sample._replace(weight=weight) for seen, weight in weighed if seen.culprit is None]
    foreign = [sample for sample in foreign if sample.frames]
    own = [(seen, weight) for seen, weight in weighed if seen.culprit is not None]
    if sum(weight for _, weight in own) < sum(sample.weight for sample in foreign):
        own = []
    if own:
        return replace(_most_seen(own), shared_function=_shared_function(weighed))
    blamed = blame(foreign, stacks.is_known) if foreign else None
    if blamed is not None:
        frame, call, sample = blamed
        return Place(to_frame(frame), call, sample.leaf, sample.frames)
    leaf = looks[-1].call if looks else None
    return Place(None, Call(leaf, True), leaf, ())


def _most_seen(weighed: Sequence[tuple[Seen, float]]) -> Place:
    """The line of the application's own that was seen most, of the function that was."""
    lines: dict[tuple[int, int], float] = {}
    functions: dict[int, float] = {}
    for seen, weight in weighed:
        code, line = _line_of(seen)
        functions[code] = functions.get(code, 0.0) + weight
        lines[code, line] = lines.get((code, line), 0.0) + weight
    blamed = max(functions, key=lambda code: functions[code])
    line = max((weight, line) for (code, line), weight in lines.items() if code == blamed)[1]
    there = [(seen, weight) for seen, weight in weighed if _line_of(seen) == (blamed, line)]
    calls: dict[Call, float] = {}
    for seen, weight in there:
        calls[seen.call] = calls.get(seen.call, 0.0) + weight
    names: dict[str, float] = {}
    for call, weight in calls.items():
        if call.name is not None:
            names[call.name] = names.get(call.name, 0.0) + weight
    # A call seen even once says more than "between two instructions of the culprit itself".
    call = Call(None)
    if 4 * sum(names.values()) >= sum(calls.values()):
        name = max(names, key=lambda name: (name != IMPORT, names[name]))
        call = max((call for call in calls if call.name == name), key=lambda call: calls[call])
    last = there[-1][0]
    assert last.culprit is not None
    return Place(to_frame(last.culprit), call, last.sample.leaf, last.look.frames)


def _shared_function(weighed: Sequence[tuple[Seen, float]]) -> str | None:
    """The innermost function of the application's own that nearly all samples share; ``None`` for none."""
    samples = [Sample(seen.functions, None, None, weight) for seen, weight in weighed if seen.functions]
    path, _ = shared_path(samples)
    return to_frame(path[-1]).function if path else None


def _line_of(seen: Seen) -> tuple[int, int]:
    assert seen.culprit is not None
    return id(seen.culprit[0]), seen.culprit[2]


def _before_fork_hooks(look: Look) -> tuple[tuple[RawFrame, ...], str | None]:
    """The stack, and the C call, without what Python runs around each fork: C code that forks has no frame.

    ``logging`` registers these two until Python 3.12; later ones, and other modules, register C functions.
    """
    frames = look.frames
    if len(frames) > 1 and frames[-1][3] == "logging" and frames[-1][0].co_name in _FORK_HOOKS:
        caller = frames[-2][3]
        if caller != "logging" and not caller.startswith("logging."):
            return frames[:-1], None
    return frames, look.call


_FORK_HOOKS = frozenset({"_acquireLock", "_releaseLock"})


def _before_the_look(
    frames: tuple[RawFrame, ...], leaf: str | None, is_known: IsKnown
) -> tuple[tuple[RawFrame, ...], str | None]:
    """The stack, and the C call, without what runs next.

    What kept the GIL is over when the watchdog gets it. The thread may have gone on by then: into a function
    that has not run a line yet, or into a call that gives up the GIL itself.
    """
    while len(frames) > 1 and has_just_begun(frames[-1][0], frames[-1][1]):
        frames, leaf = frames[:-1], None
    known = is_known(leaf) if leaf is not None else None
    if known is not None and (known.kind in WAITING or known.releases_gil):
        leaf = None
    return frames, leaf


def own_index(frames: Sequence[RawFrame], is_own: OwnCode, outermost: int = 0) -> int | None:
    """Index of the innermost frame of the application's own code; ``None`` where there is none.

    Args:
        frames: outermost first.
        is_own: tells the application's own code.
        outermost: of the frames that count; the ones around them, a middleware's, serve every request.
    """
    own = [
        at
        for at in range(outermost, len(frames))
        if is_own(frames[at][0], frames[at][3]) and not is_ours(frames[at][0])
    ]
    if not own:
        return None
    # A module that is being imported is read line by line; who imports it when it is called for is to blame.
    if frames[own[-1]][0].co_name == "<module>" and any(map(is_import, frames[: own[-1]])):
        callers = [at for at in own if frames[at][0].co_name != "<module>"]
        return callers[-1] if callers else own[-1]
    return own[-1]


def to_frame(raw: RawFrame) -> Frame:
    """Name a sampled frame."""
    code, _, line, module = raw
    return frame_of(code, line, module)


def frame_of(code: CodeType, line: int, module: str | None) -> Frame:
    """Name a line of a function."""
    return Frame(qualified_name(code, module), printable_path(code.co_filename), line)
