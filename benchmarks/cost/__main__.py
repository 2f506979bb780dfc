"""``make bench-cost``: count, print, compare with the budgets, write the document's tables."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.cost import budget, counting, picture, report, times, tools

DOCS = counting.ROOT / "docs"
DATA, PICTURE, PAGE = DOCS / "performance.json", DOCS / "performance.svg", DOCS / "performance.md"
PEERS_FILE = Path(__file__).with_name("peers.txt")
EXIT_OVER, EXIT_CANNOT = 1, 2


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 when a budget is exceeded by over 2 %%"
    )
    parser.add_argument("--brief", action="store_true", help="callbacks and steps of tasks only")
    parser.add_argument("--write", action="store_true", help="make what is counted now the budgets")
    parser.add_argument(
        "--core", action="append", choices=["native", "pure"], help="default: all that are there"
    )
    parser.add_argument(
        "--peers", metavar="PYTHON", help="a Python that has what peers.txt names: count it too"
    )
    parser.add_argument("--times", action="store_true", help="throughput, idle and busy loops as well")
    parser.add_argument("--rounds", type=int, default=9, help="of the throughput (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20, help="of an idle loop (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as in the document")
    parser.add_argument(
        "--doc", action="store_true", help="write docs/performance.json, .svg and the tables of .md"
    )
    parser.add_argument(
        "--any-python", action="store_true", help="count with a Python built without optimisation"
    )
    return parser.parse_args()


def main() -> int:
    """Do what the command line says."""
    args = arguments()
    try:
        counting.require(any_python=args.any_python)
        allowed = budget.read(platform.python_version()) if args.check else None
        cores = args.core or counting.available_cores()
        results = measure(args, cores)
    except (counting.CannotMeasure, budget.BudgetError) as error:
        print(f"bench-cost: {error}", file=sys.stderr)
        return EXIT_CANNOT
    if args.markdown:
        print(report.markdown(results))
    else:
        report.show(results)
    if args.doc:
        if DATA.exists():  # what was not measured now stays
            results = {**json.loads(DATA.read_text()), **results}
        DATA.write_text(json.dumps(results, indent=1) + "\n")
        PICTURE.write_text(picture.draw(results))
        report.into(PAGE, report.markdown(results))
    measured = as_budget(results, cores)
    if args.write:
        budget.write(measured)
    if allowed is None:
        return 0
    wrong, notes = budget.compare(allowed, measured, cores)
    for line in notes:
        print(f"note: {line}")
    for line in wrong:
        print(f"over budget: {line}", file=sys.stderr)
    print(f"{len(measured.ratios)} ratios counted, {len(wrong)} over budget")
    return EXIT_OVER if wrong else 0


def measure(args: argparse.Namespace, cores: list[str]) -> dict[str, Any]:
    """Everything that was asked for."""
    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "python": f"{platform.python_version()} ({build()})",
        "uvloop": importlib.metadata.version("uvloop"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    counted_works = counting.works(cores, brief=args.brief)
    # Counts do not mind company: two at a time.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ours = {
            loop: {"off": pool.submit(counting.count, loop, "off", works)}
            for loop, works in counted_works.items()
        }
        for loop, works in counted_works.items():
            for core in cores if loop in counting.LOOPS else ["native"]:
                ours[loop][core] = pool.submit(counting.count, loop, "otel-loopblock", works, core=core)
        peers = {name: pool.submit(peer, name, args.peers) for name in tools.PEERS} if args.peers else {}
        bare: dict[str, dict[str, float]] = {}
        if args.peers:
            counted = {
                loop: pool.submit(counting.count, loop, "off", report.PEER_WORK, python=args.peers)
                for loop in counting.LOOPS
            }
            bare = collect(counted)
        results["ours"] = {loop: collect(found) for loop, found in ours.items()}
        if peers:
            results["peers"] = {name: relative(found.result(), bare) for name, found in peers.items()}
    if args.times:
        peers_here = {
            f"{loop}, {name}": args.peers
            for name, of_peer in results.get("peers", {}).items()
            for loop in counting.LOOPS
            if "callback" in of_peer.get(loop, {})
        }
        results["clock"] = list(times.clock(cores, args.seconds, peers_here))
        results["throughput"] = [entry for core in cores for entry in times.throughput(core, args.rounds, 2)]
    return results


def collect(found: dict[str, Future[dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {name: future.result() for name, future in found.items()}


def peer(name: str, python: str) -> dict[str, Any]:
    """What one of the others costs, or why that is not known."""
    distribution = "" if name == "asyncio debug mode" else name
    version = ""
    if distribution:
        code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
        asked = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
        if asked.returncode:
            return {"missing": reason(distribution)}
        version = asked.stdout.strip()
    found: dict[str, Any] = {"version": version}
    for loop in counting.LOOPS:
        try:
            if counting.sees_blocks(loop, name, python=python):
                found[loop] = counting.count(loop, name, report.PEER_WORK, python=python)
            else:
                found[loop] = {"blind": True}
        except (counting.CannotMeasure, subprocess.TimeoutExpired) as error:
            found[loop] = {"missing": str(error)}
    return found


def reason(distribution: str) -> str:
    """Why one of the others is not installed."""
    for line in PEERS_FILE.read_text().splitlines():
        if line.startswith(f"{distribution}==") and ";" in line:
            return f"it needs {line.partition(';')[2].strip().replace('_', ' ')}"
    return f"it is not in {PEERS_FILE.name}'s environment"


def relative(found: dict[str, Any], bare: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Counts as multiples of the bare loop's."""
    for loop in counting.LOOPS:
        for work in report.PEER_WORK:
            if work in found.get(loop, {}):
                found[loop][work] /= bare[loop][work]
    return found


def as_budget(results: dict[str, Any], cores: list[str]) -> budget.Budget:
    """What was counted, in the form of the budgets."""
    ratios, instructions = {}, {}
    for loop, counts in results["ours"].items():
        for work, off in counts["off"].items():
            for core in counts.keys() & set(cores):
                ratios[budget.key(loop, work, core)] = counts[core][work] / off
                instructions[budget.key(loop, work, core)] = counts[core][work]
    return budget.Budget(results["python"], results["uvloop"], ratios, instructions)


def build() -> str:
    """Who built this Python, as far as it says."""
    os_release = Path("/etc/os-release")
    if sys.base_prefix == "/usr" and os_release.exists():
        return f"{platform.freedesktop_os_release()['NAME']}'s, {platform.python_compiler()}"
    kind = "optimised" if counting.optimised() else "not optimised"
    return f"{kind}, {platform.python_compiler()}"


if __name__ == "__main__":
    raise SystemExit(main())
