"""CPython's own tests of asyncio, with the package on and without it.

    python -m tests.compat                                # all modules, this Python
    python -m tests.compat --python .venv-3.12/bin/python test_tasks test_events

The package is on with a threshold of 1 ms and a heartbeat of 5 ms; what it reports goes nowhere. The Python
must have this package's dependencies, and ``test.test_asyncio``, which Debian ships separately. A test that
comes out differently is run again three times, alone; one that then comes out the same once is called flaky.

Exit code: 0, there is no difference; 1, there is, or something of the package has failed; 2, it could not be
run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.compat.compare import Comparison, Missing, Run, compare, modules_of


def _row(module: str, off: tuple[object, ...], on: tuple[object, ...], rest: tuple[object, ...]) -> str:
    cells = "".join(f"{cell!s:>8}" for cell in (*off, *on, *rest))
    return f"{module:<24}{cells}"


def _numbers(run: Run) -> tuple[int, int, int, int]:
    return len(run.outcomes), run.count("failed"), run.count("error"), run.count("skipped")


def _print(found: Comparison) -> None:
    package = found.on.package or {}
    rest = (package.get("blocks", "-"), package.get("beats", "-"), len(found.differing), len(found.flaky))
    print(_row(found.module, _numbers(found.off), _numbers(found.on), rest), flush=True)


def _explain(found: Comparison) -> None:
    for test in found.flaky:
        print(f"\nflaky: {test}")
    for test in found.differing:
        (off, _), (on, why) = (run.outcomes.get(test, ("missing", "")) for run in (found.off, found.on))
        print(f"\ndiffers: {test}: off {off}, on {on}\n{why}")
    if found.on.package is None:
        print(f"\n{found.module} did not come to its end: {found.on.outcomes[found.module][1]}")
    elif found.on.package["failures"]:
        print(f"\nthe package has failed in {found.module}: {found.on.package['failures']}")


def _is_same(found: Comparison) -> bool:
    return not found.differing and found.on.package is not None and not found.on.package["failures"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.compat", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="the Python to run them with")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as test_tasks; all by default")
    options = parser.parse_args(arguments)
    try:
        modules = modules_of(options.python, tuple(options.modules))
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    columns = ("ran", "failed", "errors", "skipped")
    print(f"{'':<24}{'off':>8}{'':>24}{'on':>8}")
    print(_row("", columns, columns, ("blocks", "beats", "differ", "flaky")), flush=True)
    found = []
    for module in modules:
        found.append(compare(options.python, module))
        _print(found[-1])
    for each in found:
        _explain(each)
    return 0 if all(map(_is_same, found)) else 1


if __name__ == "__main__":
    sys.exit(main())
