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
    try:
        failures[part] += 1
        if failures[part] == 1:
            _logger.warning(
                "otel_loopblock failed to %s; the application is not affected, this is logged once",
                part,
                exc_info=True,
            )
    except Exception:  # a logging handler of the application raised: there is nobody left to tell
        pass
