"""Who is to blame where no line of the application's own is on the stack: a web framework at work, say.

A random leaf of a library tells nobody anything, and is another one each time. What nearly all samples share
does: the innermost function that they were all in, and the request's endpoint, if one is known.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from otel_loopblock.explain.calls import Call, IsKnown, import_at, is_import, is_passing, is_wrapper
from otel_loopblock.naming import display_name, is_ours
from otel_loopblock.watch.evidence import Endpoint, RawFrame

SHARE = 0.8
"""Of the time: so much must have been spent in a frame for it to be blamed."""

MAJORITY = 0.5
"""So much of it for a call to be named, where none has that share."""


class Sample(NamedTuple):
    """A stack and the seconds that it stands for."""

    frames: tuple[RawFrame, ...]
    """Outermost first."""
    leaf: str | None
    """C call that the innermost frame is in."""
    endpoint: Endpoint | None
    weight: float


class Blamed(NamedTuple):
    """What samples share."""

    frame: RawFrame
    call: Call
    sample: Sample
    """The last one that shares it."""


def blame(samples: Sequence[Sample], is_known: IsKnown) -> Blamed | None:
    """The frame to blame, and the call that it was in; ``None`` where there is no frame but ours.

    Args:
        samples: at least one.
        is_known: finds what is known of a call.
    """
    blamed = _blame(samples, SHARE, is_known)
    if blamed is not None and blamed.call.name is None:
        # Two things one after the other: the frame is the same for both, the call is that of the longer one.
        longer = _blame(samples, MAJORITY, is_known)
        if longer is not None:
            return blamed._replace(call=longer.call, sample=longer.sample)
    return blamed


def _blame(samples: Sequence[Sample], share: float, is_known: IsKnown) -> Blamed | None:
    path, sharing = shared_path(samples, share)
    sample = sharing[-1]
    leaf = _shared_leaf(len(path), sharing)
    path = [frame for frame in path if not is_ours(frame[0])]
    if not path:
        return None
    endpoint = next((each.endpoint for each in reversed(sharing) if each.endpoint is not None), None)
    begin = 0
    if endpoint is not None:
        around = sample.frames[: endpoint.depth + 1]
        begin = sum(not is_ours(frame[0]) for frame in around) - 1
        own = [at for at, frame in enumerate(path) if frame[0] is endpoint.function[0]]
        if own:
            begin = own[-1]
    index, call = _call(path, begin, leaf, is_known)
    if endpoint is None:
        return Blamed(path[index], call, sample)
    running = [frame for frame in path if frame[0] is endpoint.function[0]]
    return Blamed(running[-1] if running else endpoint.function, call, sample)


def shared_path(samples: Sequence[Sample], share: float = SHARE) -> tuple[list[RawFrame], Sequence[Sample]]:
    """The frames, outermost first, that hold most of the time; and the samples that go through them."""
    needed = share * sum(sample.weight for sample in samples)
    path: list[RawFrame] = []
    while True:
        depth = len(path)
        weights: dict[int, float] = {}
        for sample in samples:
            if depth < len(sample.frames):
                key = id(sample.frames[depth][0])
                weights[key] = weights.get(key, 0.0) + sample.weight
        best = max(weights, key=lambda key: weights[key], default=None)
        if best is None or (weights[best] < needed and path):
            return path, samples
        samples = [s for s in samples if depth < len(s.frames) and id(s.frames[depth][0]) == best]
        path.append(samples[-1].frames[depth])


def _shared_leaf(depth: int, samples: Sequence[Sample]) -> str | None:
    """The C call that nearly all of the samples are in, straight from the innermost frame."""
    weights: dict[str | None, float] = {}
    for sample in samples:
        leaf = sample.leaf if len(sample.frames) == depth else None
        weights[leaf] = weights.get(leaf, 0.0) + sample.weight
    best = max(weights, key=lambda leaf: weights[leaf])
    return best if weights[best] >= SHARE * sum(weights.values()) else None


def _call(path: Sequence[RawFrame], begin: int, leaf: str | None, is_known: IsKnown) -> tuple[int, Call]:
    """The frame that calls, and what: the outermost function with advice, else the innermost public one.

    Args:
        path: what the samples share.
        begin: index of the frame below which to look.
        leaf: C call at its end.
        is_known: finds what is known of a call.
    """
    public: list[tuple[int, str]] = []
    known: list[tuple[int, str]] = []
    advice: str | None = None
    for at in range(begin + 1, len(path)):
        if is_import(path[at]):
            return at - 1, Call(import_at(path, at))
        name = _public_name(path[at])
        if name is None:
            continue
        public.append((at, name))
        entry = is_known(name)
        if entry is not None and not entry.low_level and advice in (None, entry.instead):
            advice = entry.instead
            known.append((at, name))
    if known:
        # Of several with the same advice the one that a user imports: of the shortest names the innermost.
        at, name = min(known, key=lambda each: (each[1].count("."), -each[0]))
        return at - 1, Call(name, False, leaf)
    last = len(path) - 1
    if leaf is not None and not _is_low(leaf, is_known):
        return last, Call(leaf, True)
    for at, name in reversed(public):
        if not _is_low(name, is_known):
            return at - 1, Call(name, False, leaf)
    if public and leaf is None:
        at, name = public[0]
        return at - 1, Call(name)
    if leaf is None or leaf.partition(".")[0] not in sys.modules:
        return last, Call(None)  # a method of a dictionary says nothing of what a library did
    return last, Call(leaf, True)


def _public_name(frame: RawFrame) -> str | None:
    code, _, _, module = frame
    if is_passing(module) or is_wrapper(code) or code.co_filename.startswith("<"):
        return None
    name = display_name(code, module)
    parts = name.split(".")
    private = any(part.startswith("_") and not part.startswith("__") for part in parts)
    return None if private or "<" in name or not module else name


def _is_low(name: str, is_known: IsKnown) -> bool:
    """Whether libraries stand on it, so that to name it says little of what was slow."""
    known = is_known(name)
    if known is not None:
        return known.low_level
    root = name.partition(".")[0]
    return root in sys.stdlib_module_names or root not in sys.modules
