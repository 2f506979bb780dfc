"""Names what a loop was seen to do: the function that answers for a sample, as for a block."""

from __future__ import annotations

from otel_loopblock.explain.shared import Sample as Weighed
from otel_loopblock.explain.shared import blame
from otel_loopblock.explain.stack import Stacks, own_index
from otel_loopblock.naming import qualified_name
from otel_loopblock.watch.load import Sample


def function_of(sample: Sample, stacks: Stacks) -> str | None:
    """The innermost function of the application's own; else what serves the request; ``None`` if unknown.

    Args:
        sample: one look.
        stacks: tells the application's own code, and known calls.
    """
    frames, endpoint = sample.frames, sample.endpoint
    if not frames:
        return None
    index = own_index(frames, stacks.is_own, endpoint.depth if endpoint is not None else 0)
    if index is not None:
        raw = frames[index]
    elif endpoint is not None:
        raw = endpoint.function
    else:
        blamed = blame([Weighed(frames, None, None, 1.0)], stacks.is_known)
        if blamed is None:
            return None
        raw = blamed.frame
    return qualified_name(raw[0], raw[3])
