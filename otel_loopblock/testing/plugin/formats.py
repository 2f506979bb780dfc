"""The blocks of a run as files for other programs: JSON, SARIF 2.1.0, annotations of a GitHub action."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_loopblock.explain.cause import Cause
from otel_loopblock.testing.plugin.pauses import Pauses
from otel_loopblock.testing.plugin.record import (
    Record,
    call_of,
    cause_of,
    duration_of,
    file_of,
    function_of,
    line_of,
)
from otel_loopblock.testing.words import relative
from otel_loopblock.version import __version__

JSON_VERSION = 1

_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"

_RULES: Mapping[Cause, str] = {
    "cpu": "Code computed on the event loop's thread.",
    "gil_held": "C code held the GIL on the event loop's thread.",
    "wait": "Code waited on the event loop's thread instead of awaiting.",
    "gil_contention": "Other threads held the GIL while the event loop's thread wanted it.",
    "gc": "The garbage collector ran on the event loop's thread.",
    "descheduled": "The process did not get the CPU.",
    "unknown": "The event loop was blocked.",
}


@dataclass(slots=True)
class Spot:
    """All blocks of a run with the same culprit line and call."""

    records: list[Record] = field(default_factory=list)

    @property
    def worst(self) -> Record:
        """The longest one; one that fails a test before one that does not."""
        return max(self.records, key=lambda record: (record["fails"], duration_of(record)))

    @property
    def longest_s(self) -> float:
        """Its duration."""
        return max(map(duration_of, self.records))

    @property
    def fails(self) -> bool:
        """Whether a test fails for it."""
        return any(record["fails"] for record in self.records)

    @property
    def tests(self) -> list[str]:
        """The tests that it happened in."""
        return list(dict.fromkeys(record["test"] for record in self.records))


def spots(records: Iterable[Record]) -> list[Spot]:
    """Group by culprit line and call: those that fail a test first, then the longest."""
    found: dict[tuple[str, int, str, str], Spot] = {}
    for record in records:
        key = (file_of(record), line_of(record), function_of(record), call_of(record))
        found.setdefault(key, Spot()).records.append(record)
    return sorted(found.values(), key=lambda spot: (not spot.fails, -spot.longest_s))


def write(
    path: Path, records: Sequence[Record], *, root: Path, threshold_ms: float, tests: int, pauses: Pauses
) -> None:
    """Write a report, as SARIF when the name ends in ``.sarif``, else as JSON.

    Args:
        path: of the file.
        records: all blocks.
        root: paths below it are written relative to it.
        threshold_ms: of the run.
        tests: how many were watched.
        pauses: the garbage collector's.
    """
    if path.suffix.lower() == ".sarif":
        content = sarif(records, root)
    else:
        content = {
            "version": JSON_VERSION,
            "tool": {"name": "otel-loopblock", "version": __version__},
            "threshold_ms": threshold_ms,
            "tests": tests,
            "failed": len({record["test"] for record in records if record["fails"]}),
            "garbage_collector": {"blocks": pauses.count, "longest": pauses.longest_s},
            "blocks": list(records),
        }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    # The path of a test may hold what is no Unicode; escaped like this it is JSON still.
    path.write_text(text, "utf-8", errors="backslashreplace")


def sarif(records: Sequence[Record], root: Path) -> dict[str, Any]:
    """A SARIF log: a result per culprit line and call."""
    causes = list(dict.fromkeys(cause_of(record) for record in records))
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "otel-loopblock",
                        "version": __version__,
                        "rules": [
                            {
                                "id": _rule(cause),
                                "shortDescription": {"text": text},
                            }
                            for cause, text in _RULES.items()
                            if cause in causes
                        ],
                    }
                },
                "originalUriBaseIds": {"ROOT": {"uri": root.resolve().as_uri() + "/"}},
                "results": [_result(spot, root) for spot in spots(records)],
            }
        ],
    }


def _rule(cause: str) -> str:
    return f"event_loop.blocked.{cause}"


def _result(spot: Spot, root: Path) -> dict[str, Any]:
    worst = spot.worst
    function, call = function_of(worst), call_of(worst)
    tests = ", ".join(spot.tests[:3]) + (f" and {len(spot.tests) - 3} more" if len(spot.tests) > 3 else "")
    digest = hashlib.sha256(f"{function}\n{call}".encode()).hexdigest()
    result: dict[str, Any] = {
        "ruleId": _rule(cause_of(worst)),
        "level": "error" if spot.fails else "note",
        "message": {"text": f"{worst['headline']} Seen {len(spot.records)} times, in {tests}."},
        "partialFingerprints": {"functionAndCall/v1": digest},
        "occurrenceCount": len(spot.records),
        "properties": worst["attributes"],
    }
    if file_of(worst):
        result["locations"] = [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(file_of(worst), root),
                    "region": {"startLine": max(1, line_of(worst))},
                },
                "logicalLocations": [{"fullyQualifiedName": function, "kind": "function"}],
            }
        ]
    if worst["excuse"] == "baseline":
        result["suppressions"] = [{"kind": "external", "justification": "listed in the baseline"}]
    return result


def _artifact(file: str, root: Path) -> dict[str, str]:
    path = relative(file, str(root))
    if path == file:
        return {"uri": Path(file).absolute().as_uri()}
    return {"uri": Path(path).as_posix(), "uriBaseId": "ROOT"}


def github(records: Sequence[Record], root: Path) -> list[str]:
    """Workflow commands, one per culprit line and call: GitHub shows each beside its line.

    Args:
        records: all blocks; those that fail no test become notices.
        root: of the checkout, where ``GITHUB_WORKSPACE`` does not say.
    """
    base = os.environ.get("GITHUB_WORKSPACE") or str(root)
    lines = []
    for spot in spots(records):
        worst = spot.worst
        places = {"title": "Event loop blocked"}
        if file_of(worst):
            places = {
                "file": Path(relative(file_of(worst), base)).as_posix(),
                "line": str(line_of(worst)),
                **places,
            }
        properties = ",".join(f"{key}={_escape(value, ':,')}" for key, value in places.items())
        text = f"{worst['headline']} ({worst['test']})"
        lines.append(f"::{'error' if spot.fails else 'notice'} {properties}::{_escape(text)}")
    return lines


def _escape(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
