"""Other people's tests, with the package on and without it.

    python -m tests.compat                                # CPython's of asyncio, all modules, this Python
    python -m tests.compat --python .venv-3.12/bin/python test_tasks test_events
    python -m tests.compat --suites                       # of other projects: suites/table.py
    python -m tests.compat --suites uvloop janus
    python -m tests.compat --plugin uvicorn               # suites with pytest --loopblock

On is: with a threshold of 1 ms and a heartbeat of 5 ms; the suites also with the defaults. What the package
reports goes nowhere. A test that comes out differently is run again three times, alone; one that then comes
out the same once is called flaky.

CPython's tests: the Python must have this package's dependencies, and ``test.test_asyncio``, which Debian
ships separately. The suites: each has an environment of its own in ~/.cache/otel-loopblock/suites, made by
pip of that Python; the compiled core is that in the tree, where it was built for this Python.

With --plugin a test that fails for a block of the project's own code is "explained", and said with its
culprit; one that fails for a line of a test differs.

Exit code: 0, there is no difference; 1, there is, or something of the package has failed; 2, it could not be
run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from tests.compat.compare import OFF, Comparison, Missing
from tests.compat.cpython import compare_module, modules_of
from tests.compat.suites.plugin import compare_with_plugin
from tests.compat.suites.run import compare_suite
from tests.compat.suites.table import SUITES


def _comparisons(options: argparse.Namespace) -> list[Callable[[], Comparison]]:
    if not (options.suites or options.plugin):
        modules = modules_of(options.python, tuple(options.names))
        return [partial(compare_module, options.python, module) for module in modules]
    suites = {suite.name: suite for suite in SUITES}
    unknown = set(options.names) - suites.keys()
    if unknown:
        raise Missing(f"there is no suite {', '.join(sorted(unknown))}: there are {', '.join(suites)}")
    comparing = compare_with_plugin if options.plugin else compare_suite
    return [partial(comparing, options.python, suites[name]) for name in options.names or suites]


def _row(name: str, cells: Iterable[object]) -> None:
    print(f"{name:<40}{''.join(f'{cell!s:>10}' for cell in cells)}", flush=True)


def _print(found: Comparison, took_s: float) -> None:
    """One line for each way: what came out, and what the package did meanwhile."""
    for way, run in found.runs.items():
        package = run.package or {}
        kinds = [each.kind for each in found.differences if each.way == way]
        cells: list[object] = [len(run.outcomes), *(run.count(each) for each in OUTCOMES)]
        cells += [package.get(name, "-") for name in ("core", "blocks", "beats")]
        cells += ["-" if way == OFF else kinds.count(kind) for kind in KINDS]
        _row(f"{found.name if way == OFF else ''}  {way}", cells)
    print(f"  {took_s:.0f} s", flush=True)


OUTCOMES = ("ok", "failed", "error", "skipped")

KINDS = ("differs", "explained", "flaky")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.compat", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="the Python to run them with")
    parser.add_argument("--suites", action="store_true", help="the suites of other projects, not CPython's")
    parser.add_argument("--plugin", action="store_true", help="the suites, with pytest --loopblock")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="such as test_tasks or uvloop; all by default"
    )
    options = parser.parse_args(arguments)
    found = []
    try:
        comparisons = _comparisons(options)
        _row("", ("tests", *OUTCOMES, "core", "blocks", "beats", *KINDS))
        for compare in comparisons:
            began = time.monotonic()
            found.append(compare())
            _print(found[-1], time.monotonic() - began)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    faults = [fault for each in found for fault in each.faults()]
    known = [str(known) for each in found for kind in KINDS[1:] for known in each.of_kind(kind)]
    for said in known + faults:
        print(f"\n{said}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
