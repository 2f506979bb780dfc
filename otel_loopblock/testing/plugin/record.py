"""What a test's report carries of a block: plain data, so that it travels from a worker to its controller."""

from __future__ import annotations

from typing import Any, TypedDict

from otel_loopblock.testing.plugin.baseline import Known

ATTRIBUTE = "loopblock"
"""Where a report carries its records."""

NOT_COVERED = "loopblock_not_covered"
"""Where a report says what the test ran on instead of asyncio."""


class Record(TypedDict):
    """One block in one test."""

    test: str
    phase: str
    """``setup``, ``call`` or ``teardown``."""
    fails: bool
    """Whether it fails the test."""
    excuse: str | None
    """Why it does not: ``gc``, ``descheduled``, ``unseen``, ``own line``, ``baseline``, ``skipped``,
    or the wider fixture it was in."""
    headline: str
    attributes: dict[str, Any]
    """As of the event ``event_loop.blocked``."""


def function_of(record: Record) -> str:
    """Qualified name of the culprit; empty where none was seen."""
    return str(record["attributes"].get("code.function.name", ""))


def call_of(record: Record) -> str:
    """The call that it was in; empty where there was none."""
    return str(record["attributes"].get("event_loop.block.call", ""))


def file_of(record: Record) -> str:
    """Path of the culprit's file; empty where none was seen."""
    return str(record["attributes"].get("code.file.path", ""))


def line_of(record: Record) -> int:
    """Line of the culprit; 0 where none was seen."""
    return int(record["attributes"].get("code.line.number", 0))


def cause_of(record: Record) -> str:
    """Why it blocked."""
    return str(record["attributes"]["event_loop.block.cause"])


def duration_of(record: Record) -> float:
    """How long, in seconds."""
    return float(record["attributes"]["event_loop.block.duration"])


def known(record: Record) -> Known:
    """As the baseline lists it."""
    return Known(function_of(record), call_of(record))
