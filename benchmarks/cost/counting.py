"""Instructions per piece of work, counted by ``valgrind --tool=callgrind``.

One process runs each workload at two lengths; the difference leaves out everything that is done once.
Between the runs callgrind writes its counter out (``--dump-before``): Python starts once per tool and loop.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from benchmarks.cost.child import LENGTHS, REPEATS, WORKLOADS

ROOT = Path(__file__).resolve().parents[2]
LOOPS = ("asyncio", "uvloop")
UNHOOKED = ("rloop", "zuvloop")
"""Loops that nothing hooks: counted where they are installed and the core sees them."""
TIMEOUT_S = 900.0


class CannotMeasure(Exception):
    """Something that counting needs is missing, or the process that was to be counted failed."""


def optimised() -> bool:
    """Whether this Python is built as users have it: with profile-guided optimisation.

    The builds of Debian and the like are, but say so in no variable: they are told by where they live.
    """
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS"))
    debug = bool(sysconfig.get_config_var("Py_DEBUG"))
    return not debug and ("--enable-optimizations" in arguments or sys.base_prefix == "/usr")


def require(*, any_python: bool) -> None:
    """Refuse to count with what would give other numbers."""
    if shutil.which("valgrind") is None:
        raise CannotMeasure("valgrind is not installed (Debian: apt-get install valgrind)")
    if not any_python and not optimised():
        raise CannotMeasure(
            f"{sys.executable} is built without optimisation, as no user's Python is: take Debian's own "
            "(/usr/bin/python3.11, packages python3.11-venv and python3-dev), or --any-python"
        )


def available_cores() -> list[str]:
    """``native`` where the package has a compiled module, and ``pure``."""
    built = any(
        file.name.endswith(tuple(EXTENSION_SUFFIXES)) for file in (ROOT / "otel_loopblock").rglob("*.*")
    )
    return ["native", "pure"] if built else ["pure"]


def count(
    loop: str, tool: str, workloads: Sequence[str], *, core: str = "", python: str = sys.executable
) -> dict[str, float]:
    """Instructions per piece of work, for each workload."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind"
        chosen = [part for name in workloads for part in ("--workload", name)]
        run(
            [
                *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-before=getpriority"),
                *(python, "-m", "benchmarks.cost.child", "count", loop, tool, *chosen),
            ],
            core,
        )
        # One mark before and one after each run: the even parts are the runs.
        runs = 2 * REPEATS * len(workloads)
        totals = [_total(Path(f"{out}.{2 * number}")) for number in range(1, runs + 1)]
    counts = {}
    for index, name in enumerate(workloads):
        of_work = totals[index * 2 * REPEATS : (index + 1) * 2 * REPEATS]
        short, long = min(of_work[::2]), min(of_work[1::2])
        counts[name] = (long - short) / (LENGTHS[1] - LENGTHS[0])
    return counts


def sees_blocks(loop: str, tool: str, *, python: str) -> bool:
    """Whether the tool reports a block on this loop at all."""
    done = run([python, "-m", "benchmarks.cost.child", "probe", loop, tool], "", expected=(0, 3))
    return done == 0


def run(command: Sequence[str], core: str, *, expected: Sequence[int] = (0,)) -> int:
    """Run with an environment that is the same everywhere; its exit code."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
    if core:
        environment["OTEL_PYTHON_LOOPBLOCK_CORE"] = core
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode not in expected:
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith("==")]
        raise CannotMeasure(lines[-1] if lines else f"exit code {done.returncode}")
    return done.returncode


def _total(file: Path) -> int:
    found = re.search(r"^summary: (\d+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise CannotMeasure(f"callgrind wrote no counter into {file.name}")
    return int(found[1])


def works(cores: Sequence[str], *, brief: bool) -> dict[str, tuple[str, ...]]:
    """What is counted on which loop."""
    found = dict.fromkeys(LOOPS, BRIEF if brief else ALL)
    if "native" in cores and sys.version_info >= (3, 14):
        found |= {loop: BRIEF for loop in UNHOOKED if importlib.util.find_spec(loop) is not None}
    return found


ALL = tuple(WORKLOADS)
BRIEF = ("callback", "task step")
"""All of a loop that nothing hooks: what it does else, it does without the package."""
