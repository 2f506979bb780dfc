"""Why a callback blocked its loop."""

from __future__ import annotations

from typing import Literal

Cause = Literal["cpu", "gil_held", "wait", "gil_contention", "gc", "descheduled", "unknown"]
"""Value of ``event_loop.block.cause``."""
