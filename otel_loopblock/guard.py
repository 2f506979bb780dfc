"""Keeps our own errors away from the application: caught, counted, logged once."""

from __future__ import annotations

import logging
from collections import Counter

_logger = logging.getLogger("otel_loopblock")

failures: Counter[str] = Counter()
"""How often each part of this package has failed in this process, by the name of the part."""


def failed(part: str) -> None:
    """Account for the exception being handled; call it from an ``except Exception`` block.

    Args:
        part: what was attempted, in a few constant words; each is logged once per process.
    """
    _count(part, "", exc_info=True)


def note(part: str, why: str) -> None:
    """Account for what failed without an exception.

    Args:
        part: as for :func:`failed`.
        why: the reason, for the log.
    """
    _count(part, f": {why}", exc_info=False)


def _count(part: str, why: str, *, exc_info: bool) -> None:
    try:
        failures[part] += 1
        if failures[part] == 1:
            _logger.warning(
                "otel_loopblock failed to %s%s; the application is not affected, this is logged once",
                part,
                why,
                exc_info=exc_info,
            )
    except Exception:  # a logging handler of the application raised: there is nobody left to tell
        pass
