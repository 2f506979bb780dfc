"""``python -m tests.neighbours``: every tool, in every order, on both loops; 1 where something is wrong."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.conftest import LOOPS
from tests.neighbours.tools import TOOLS

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path.home() / ".cache" / "otel-loopblock" / "neighbours"
ORDERS = ["".join(order) for order in product("to", "to", "r-")]
TIMEOUT_S = 120.0
CULPRIT = "__main__.culprit"
TRIES = 3
"""What is wrong each time is wrong: a busy machine spoils some."""


def environment(tool: str) -> tuple[str, str]:
    """A Python that has the tool and what the tests need, and the tool's version."""
    packages = TOOLS[tool].packages
    if not packages:
        return sys.executable, ""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = CACHE / version / packages[0]
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--editable", f"{ROOT}[otlp]", "pytest", "uvloop", *packages], check=True)
        (folder / "ready").touch()
    code = f"import importlib.metadata as m; print(m.version({packages[0]!r}))"
    return str(python), subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def run(python: str, tool: str, loop: str, order: str) -> list[str]:
    """What was wrong with the tool beside ours in this order."""
    try:
        done = subprocess.run(
            [python, "-W", "ignore", "-m", "tests.neighbours.child", tool, loop, order],
            cwd=ROOT,
            env={**os.environ, "DD_TRACE_ENABLED": "true", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"hangs for {TIMEOUT_S:g} s"]
    if done.returncode or not done.stdout:
        return [f"exit code {done.returncode}: {done.stderr[-300:]}"]
    return wrongs(json.loads(done.stdout.splitlines()[-1]))


def wrongs(found: dict[str, Any]) -> list[str]:
    """What must not be of what such a process has found, in words."""
    wrong = []
    results = found["results"]
    if any(each != results[0] for each in results):
        wrong.append(f"the application returned {results}")
    if found["blocked"].count(CULPRIT) != 1:
        wrong.append(f"reported: {found['blocked']}")
    if "event_loop.blocked" in (*found["after_ours"], *found["left"]):
        wrong.append("ours reports after it was taken out")
    if found["misplaced"]:
        wrong.append(f"not theirs when ours was taken out: {', '.join(found['misplaced'])}")
    if found["failures"]:
        wrong.append(f"ours failed: {found['failures']}")
    return wrong


def run_again(python: str, tool: str, loop: str, order: str) -> list[str]:
    """The same, of the last of three tries; empty where one had nothing wrong."""
    for _ in range(TRIES):
        wrong = run(python, tool, loop, order)
        if not wrong:
            break
    return wrong


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.neighbours", description=__doc__)
    parser.add_argument("tools", nargs="*", metavar="TOOL", help=f"default: all of {', '.join(TOOLS)}")
    args = parser.parse_args()
    for tool in args.tools:
        if tool not in TOOLS:
            parser.error(f"there is no tool {tool!r}; there are: {', '.join(TOOLS)}")
    table = Table("tool", "version", "orders and loops", "wrong")
    failed = []
    for tool in args.tools or TOOLS:
        python, version = environment(tool)
        tries = [(loop, order) for loop in sorted(LOOPS) for order in ORDERS]
        wrong = {each: found for each in tries if (found := run_again(python, tool, *each))}
        table.add_row(tool, version, str(len(tries)), str(len(wrong)))
        failed += [f"{tool}, {loop}, {order}: {'; '.join(each)}" for (loop, order), each in wrong.items()]
    Console(width=110).print(table)
    for each in failed:
        print(each, file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
