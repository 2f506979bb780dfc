"""Who awaited the culprit, in words: ``checkout: shop.pay (shop.py:12)``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from types import CodeType
from typing import Final

from otel_loopblock.explain.stack import to_frame
from otel_loopblock.naming import printable
from otel_loopblock.watch.awaiting import Awaiter

MAX_WORDS: Final = 300
"""Characters of one."""

_DEFAULT_TASK_NAME: Final = re.compile(r"Task-\d+")


def is_default_name(name: str) -> bool:
    """Whether asyncio has made up the name of a task: the application has given it none."""
    return _DEFAULT_TASK_NAME.fullmatch(name) is not None


def words(awaiters: Iterable[Awaiter], is_own: Callable[[CodeType, str], bool]) -> tuple[str, ...]:
    """Each awaiter: its task's name, or else its coroutine; the function of the application's in which it
    waits, else the innermost; and the line.

    Args:
        awaiters: the nearest first.
        is_own: tells the application's own code.

    Returns:
        As many, in the same order.
    """
    return tuple(_words(each, is_own) for each in awaiters)


def _words(awaiter: Awaiter, is_own: Callable[[CodeType, str], bool]) -> str:
    name = awaiter.coroutine if is_default_name(awaiter.task_name) else awaiter.task_name
    own = next((raw for raw in awaiter.frames if is_own(raw[0], raw[3])), None)
    raw = own or next(iter(awaiter.frames), None)
    if raw is None:
        return printable(name, MAX_WORDS)
    frame = to_frame(raw)
    place = f" ({os.path.basename(frame.file)}:{frame.line})"
    return printable(printable(f"{name}: {frame.function}", MAX_WORDS - len(place)) + place, MAX_WORDS)
