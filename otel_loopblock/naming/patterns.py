"""Patterns of dotted names, as users write them: ``mylib.call``, ``mylib.*``."""

from __future__ import annotations

import re

_PATTERN = re.compile(r"[\w*?\[\]!<>-]+(\.[\w*?\[\]!<>-]+)*")


def check_advice(pattern: object, sentence: object) -> None:
    """Check what a user says of the calls of a pattern.

    Raises:
        ValueError: naming what is wrong with it.
    """
    if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
        raise ValueError(
            f"advice for {pattern!r}: the key must be a dotted name such as 'mylib.call' or 'mylib.*'"
        )
    if not isinstance(sentence, str) or not sentence.strip():
        raise ValueError(f"advice for {pattern!r}: the value must be a sentence, not {sentence!r}")
