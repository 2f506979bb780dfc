"""The budgets: what each piece of work may cost with the package on, as a share of what it costs without.

A budget is the ratio on / off, not the difference. Both counts come from the same interpreter, C library and
machine, and another compiler moves both the same way: ``docs/performance.md`` has a comparison. Another minor
version of Python moves them apart: each has budgets of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "budget.json"
TOLERANCE = 0.02


class BudgetError(Exception):
    """The file of the budgets is missing, or is none."""


@dataclass(frozen=True)
class Budget:
    """What is allowed, and where it was measured."""

    python: str
    """Version and build of the interpreter."""
    uvloop: str
    ratios: Mapping[str, float] = field(default_factory=dict)
    """on / off, by ``"loop, work, core"``."""
    instructions: Mapping[str, float] = field(default_factory=dict)
    """Counted with the package on: to read, not compared."""


def key(loop: str, work: str, core: str) -> str:
    """The name of one budget."""
    return f"{loop}, {work}, {core}"


def minor(python: str) -> str:
    """``3.14`` of ``3.14.8 (…)``: what the budgets of a version stand under."""
    return ".".join(python.split(".")[:2])


def versions(file: Path = FILE) -> list[str]:
    """The minor versions of Python that have budgets; another one is compared with the first."""
    return list(_load(file))


def read(python: str, file: Path = FILE) -> Budget:
    """The budgets in the file for a version of Python."""
    found = _load(file)
    return found.get(minor(python)) or next(iter(found.values()))


def _load(file: Path) -> dict[str, Budget]:
    try:
        found = {
            version: Budget(each["python"], each["uvloop"], each["ratios"], each["instructions"])
            for version, each in json.loads(file.read_text()).items()
        }
        if not found:
            raise ValueError("it is empty")
        return found
    except FileNotFoundError:
        raise BudgetError(f"{file} is missing: make it with --write") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BudgetError(
            f"{file} is not a file of budgets ({error!r}): make it again with --write"
        ) from None


def write(budget: Budget, file: Path = FILE) -> None:
    """Make these the budgets of their Python; those of a core that was not measured stay."""
    all_of_them = _load(file) if file.exists() else {}
    old = all_of_them.get(minor(budget.python), Budget(budget.python, budget.uvloop))
    ratios = {name: round(ratio, 4) for name, ratio in {**old.ratios, **budget.ratios}.items()}
    instructions = {name: round(count) for name, count in {**old.instructions, **budget.instructions}.items()}
    new = Budget(
        budget.python, budget.uvloop, dict(sorted(ratios.items())), dict(sorted(instructions.items()))
    )
    all_of_them[minor(new.python)] = new
    written = {version: asdict(each) for version, each in all_of_them.items()}
    file.write_text(json.dumps(written, indent=2) + "\n")


def compare(budget: Budget, measured: Budget, cores: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is wrong, and what is worth a line.

    Args:
        budget: what is allowed.
        measured: what was counted now.
        cores: those that were measured.
    """
    wrong: list[str] = []
    notes: list[str] = []
    if measured.python != budget.python or measured.uvloop != budget.uvloop:
        notes.append(
            f"budgets are of Python {budget.python}, uvloop {budget.uvloop}; "
            f"counted now: Python {measured.python}, uvloop {measured.uvloop}"
        )
    for name, ratio in measured.ratios.items():
        allowed = budget.ratios.get(name)
        if allowed is None:
            wrong.append(f"{name}: no budget (--write makes one); now {ratio:.3f} of the bare loop")
            continue
        change = ratio / allowed - 1
        if change > TOLERANCE:
            wrong.append(f"{name}: {ratio:.3f} of the bare loop, budget {allowed:.3f}: {change:.1%} over")
        elif change < -TOLERANCE:
            notes.append(f"{name}: {ratio:.3f}, budget {allowed:.3f}: {-change:.1%} less, --write lowers it")
    missing = sorted({name.rpartition(", ")[2] for name in budget.ratios} - set(cores))
    notes.extend(f"the {core} core has budgets and was not measured" for core in missing)
    return wrong, notes
