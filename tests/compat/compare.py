"""Runs the same tests without the package and with it, and finds those that come out differently.

What the tests are and how they are started it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

OFF = "off"

RERUNS = 3
"""How often a test that differs is run again, off and on, alone."""

MANY = 20
"""Of more tests that differ none is run again: it is no chance."""


class Missing(Exception):
    """What is needed is not there; the message says what."""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of the tests, run in one way."""

    outcomes: dict[str, tuple[str, str]]
    """By test: ``ok``, ``failed``, ``error`` or ``skipped``, and why."""
    package: dict[str, Any] | None
    """What the package says of itself; ``None`` where it was off or the tests did not come to their end."""
    end: str = ""
    """How it ended, where it did not come to its end."""

    def count(self, *outcomes: str) -> int:
        """How many tests came out like that."""
        return sum(outcome in outcomes for outcome, _ in self.outcomes.values())

    def outcome(self, test: str) -> str:
        """What became of one test."""
        return self.outcomes.get(test, ("missing",))[0]


@dataclass(frozen=True, slots=True)
class Difference:
    """One test that came out differently."""

    test: str
    way: str
    off: tuple[str, ...]
    """What came of it without the package: among the others, then alone."""
    on: tuple[str, ...]
    why: str
    """What the test has to say, with the package."""
    reason: str = ""
    """Where it is known that it differs: why that is no fault."""

    @property
    def kind(self) -> Literal["flaky", "explained", "differs"]:
        """What is to be thought of it."""
        if self.is_flaky:
            return "flaky"
        return "explained" if self.reason else "differs"

    @property
    def is_flaky(self) -> bool:
        """Whether chance decides: off changes as well, or it came out the same when it was run again."""
        return len(set(self.off)) > 1 or any(
            off == on for off, on in zip(self.off[1:], self.on[1:], strict=True)
        )

    def __str__(self) -> str:
        sides = (f"{name} {', '.join(found)}" for name, found in ((OFF, self.off), (self.way, self.on)))
        return f"{self.kind}: {self.test}: {'; '.join(sides)}\n{self.reason or self.why}".strip()


@dataclass(slots=True)
class Comparison:
    """The same tests, in each way."""

    name: str
    runs: dict[str, Run]
    differences: list[Difference] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Difference]:
        """The differences of one kind."""
        return [found for found in self.differences if found.kind == kind]

    def faults(self) -> list[str]:
        """What must not be, in words; empty where the package makes no difference."""
        faults = [str(found) for found in self.of_kind("differs")]
        for way, run in self.runs.items():
            if run.end:
                faults.append(f"{self.name}, {way}, did not come to its end: {run.end}")
            elif run.package is not None and run.package["failures"]:
                why = "\n".join(["", *run.package.get("tracebacks", [])])
                faults.append(f"the package has failed in {self.name}, {way}: {run.package['failures']}{why}")
        if not self.runs[OFF].count("ok"):
            faults.append(f"no test of {self.name} passes without the package either")
        return faults


Runner = Callable[[str, tuple[str, ...]], Run]
"""Runs tests, all where none is named, in one way."""


def differing(off: Run, on: Run) -> list[str]:
    """Tests that came out differently, those that only one has among them."""
    tests = sorted(off.outcomes.keys() | on.outcomes.keys())
    return [test for test in tests if off.outcome(test) != on.outcome(test)]


def compare(
    name: str, ways: Sequence[str], run: Runner, reasons: Mapping[str, str] = MappingProxyType({})
) -> Comparison:
    """Run the tests in each way; what differs is run again. ``reasons`` are those of known differences."""
    found = Comparison(name, {way: run(way, ()) for way in (OFF, *ways)})
    off = found.runs[OFF]
    for way in ways:
        on = found.runs[way]
        tests = differing(off, on)
        # Tests of a run that did not come to its end are missing without a fault of theirs.
        if off.end or on.end:
            tests = [test for test in tests if "missing" not in (off.outcome(test), on.outcome(test))]
        reruns = RERUNS if len(tests) <= MANY else 0
        for test in tests:
            again = [
                (run(OFF, (test,)).outcome(test), run(way, (test,)).outcome(test)) for _ in range(reruns)
            ]
            outcomes = [(off.outcome(test), on.outcome(test)), *again]
            why = on.outcomes.get(test, ("", ""))[1] or off.outcomes.get(test, ("", ""))[1]
            sides = tuple(zip(*outcomes, strict=True))
            found.differences.append(Difference(test, way, sides[0], sides[1], why, reasons.get(test, "")))
    return found
