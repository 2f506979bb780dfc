"""``python -m tests.servers``: all of them, on each of their loops; 1 where one is not as it should be."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.servers.commands import SERVED, Served
from tests.servers.running import ON_ITS_OWN, ON_THE_REQUEST, observe
from tests.service.running import ROOT

CACHE = Path.home() / ".cache" / "otel-loopblock" / "servers"
PACKAGES = sorted({package for served in SERVED for package in served.packages})
INSTRUMENTED = ("aiohttp-server", "asgi", "django", "fastapi", "starlette")
INSTRUMENTATIONS = [f"opentelemetry-instrumentation-{name}" for name in INSTRUMENTED]
TRIES = 3
"""What is wrong each time is wrong: a busy machine spoils some."""


def environment() -> str:
    """A Python that has all of them."""
    folder = CACHE / f"{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run(
            [*pip, "--editable", f"{ROOT}[otlp]", "uvloop", *INSTRUMENTATIONS, *PACKAGES], check=True
        )
        (folder / "ready").touch()
    return str(python)


def versions(python: str, served: Served) -> str:
    """As installed there."""
    code = "import sys, importlib.metadata as m\nfor name in sys.argv[1:]: print(name, m.version(name))"
    done = subprocess.run([python, "-c", code, *served.packages], capture_output=True, text=True, check=True)
    return ", ".join(done.stdout.splitlines())


def seen(python: str, served: Served, loop: str) -> tuple[str, bool]:
    """Where a block was reported, in words, and whether that is right."""
    right = ON_THE_REQUEST if served.span else ON_ITS_OWN
    place = ""
    for _ in range(TRIES):
        place, kind = observe(python, served, loop)
        if (place, kind) == (right, loop):
            return place, True
    return f"{place} {kind}".strip(), False


def main() -> int:
    """Run what was asked for; the table is Markdown, as the docs have it."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only rows that have one of these words")
    words = [word.lower() for word in parser.parse_args().words]
    python = environment()
    print("| server | framework | versions | asyncio | uvloop |\n| --- | --- | --- | --- | --- |")
    is_right = True
    for served in SERVED:
        name = f"{served.server} {served.framework}".lower()
        if words and not any(word in name for word in words):
            continue
        found = {loop: seen(python, served, loop) for loop in served.loops}
        is_right &= all(right for _, right in found.values())
        cells = [found[loop][0] if loop in found else "" for loop in ("asyncio", "uvloop")]
        print(
            f"| {served.server} | {served.framework} | {versions(python, served)} | {' | '.join(cells)} |",
            flush=True,
        )
    return not is_right


if __name__ == "__main__":
    raise SystemExit(main())
