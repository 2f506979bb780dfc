"""The pytest plugin on a suite of 1,000 async tests: what it costs, and what it finds.

    python benchmarks/pytest_plugin.py [--suite loop|service] [--loop asyncio|uvloop] [--rounds 30]
                                       [--tests 1000] [--blocks 100]

First the suite, without a block in it, with and without --loopblock. Machines become faster and slower by
several per cent within seconds, so two processes take turns, 50 tests each, while the other one stands still:
the median of the differences between neighbours is what the plugin costs. The same for what comes before the
first test, from the suite's conftest.py on, and after the last. The interval is that of 19 in 20 resamplings
of the rounds. The suite "loop" has the shortest of async tests: what the plugin takes per test is as large a
share there as it can be. In "service" each test makes a client and asks a small FastAPI application two or
three times, in the same process.

Then the same suite with blocks of 12 to 30 ms planted into some tests, alone and with pytest-xdist on two
cores: which tests failed, and with which line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

AT_ONCE = 50
"""Tests per turn."""

INI = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""

CONFTEST = """import json
import os
import time

import pytest

loaded = began = time.time()
reading, writing = map(int, os.environ["TURNS"].split(","))
parts = []
tests = 0


def turn():
    global began
    parts.append(time.time() - began)
    os.write(writing, b"x")
    os.read(reading, 1)
    began = time.time()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol():
    global tests
    if tests % int(os.environ["AT_ONCE"]) == 0:
        turn()
    tests += 1
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish():
    turn()
    with open("parts.json", "w") as file:
        json.dump([loaded, *parts, began], file)
    return (yield)
"""
"""Waits for its turn before each so many tests, and before the end; notes how long each part has taken."""

HEAD = """import asyncio
import hashlib
import json
import sqlite3
import time

import httpx


async def app(scope, receive, send):
    await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


async def later(value):
    await asyncio.sleep(0.001)
    return value


async def double(value):
    await asyncio.sleep(0)
    return 2 * value
"""

BODIES = (
    """    assert await double(21) == 42
""",
    """    assert sum(await asyncio.gather(*(later(n) for n in range(5)))) == 10
""",
    """    queue = asyncio.Queue()
    await asyncio.gather(*(queue.put(n) for n in range(20)))
    assert [await queue.get() for _ in range(20)] == list(range(20))
""",
    """    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        assert (await client.get("/")).text == "done"
""",
)

SERVICE_HEAD = """import asyncio
import hashlib
import json
import time

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()
items = {}


class Item(BaseModel):
    name: str
    price: float
    tags: list[str] = []


async def database():
    await asyncio.sleep(0)
    yield items
    await asyncio.sleep(0)


@app.post("/items", status_code=201)
async def create(item: Item, database: dict = Depends(database)) -> Item:
    database[item.name] = item
    return item


@app.get("/items/{name}")
async def read(name: str, database: dict = Depends(database)) -> Item:
    if name not in database:
        raise HTTPException(404)
    return database[name]


@app.get("/items")
async def read_all(database: dict = Depends(database)) -> list[Item]:
    return sorted(database.values(), key=lambda item: item.name)


@pytest.fixture
async def client():
    items.clear()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client
"""

SERVICE_BODIES = (
    """    made = await client.post("/items", json={"name": "tea", "price": 2.5, "tags": ["hot"]})
    assert made.status_code == 201
    assert (await client.get("/items/tea")).json() == made.json()
""",
    """    assert (await client.get("/items/tea")).status_code == 404
    assert (await client.post("/items", json={"name": "tea"})).status_code == 422
""",
    """    for name in ("tea", "coffee"):
        assert (await client.post("/items", json={"name": name, "price": 2.5})).status_code == 201
    assert [item["name"] for item in (await client.get("/items")).json()] == ["coffee", "tea"]
""",
)

UVLOOP = """

import uvloop
import pytest


@pytest.fixture(scope="module")
def event_loop_policy():
    return uvloop.EventLoopPolicy()
"""

SUITES = {"loop": (HEAD, "", BODIES), "service": (SERVICE_HEAD, "client", SERVICE_BODIES)}
"""Head of each module, fixtures and bodies of its tests."""

BLOCKS = (
    "    time.sleep({seconds})\n",
    """    until = time.thread_time() + {seconds}
    while time.thread_time() < until:
        pass
""",
    """    until = time.thread_time() + {seconds}
    while time.thread_time() < until: json.loads('[' + '1,' * 2000 + '1]')
""",
    """    until = time.thread_time() + {seconds}
    while time.thread_time() < until: hashlib.sha256(bytes(200_000)).digest()
""",
    """    until = time.thread_time() + {seconds}
    while time.thread_time() < until: sum(range(20_000))
""",
)
"""Each waits for a given time, or computes for a given CPU time, on lines of its own."""


class Suite(NamedTuple):
    """Which tests there are."""

    name: str
    """Of :data:`SUITES`."""
    loop: str
    """``asyncio`` or ``uvloop``."""
    tests: int
    """How many."""


def write_suite(folder: Path, suite: Suite, blocks: int, seed: int) -> dict[str, tuple[int, int]]:
    """Write the suite.

    Returns:
        For each planted block the test's id and the first and last line that may be blamed.
    """
    choice = random.Random(seed)
    head, fixtures, bodies = SUITES[suite.name]
    tests = suite.tests
    if suite.loop == "uvloop":
        head += UVLOOP
    planted = set(choice.sample(range(tests), blocks))
    lines: dict[str, tuple[int, int]] = {}
    (folder / "pytest.ini").write_text(INI)
    for module in range(0, tests, 100):
        text = head
        for number in range(module, min(module + 100, tests)):
            text += f"\n\nasync def test_{number}({fixtures}):\n{choice.choice(bodies)}"
            if number in planted:
                first = text.count("\n") + 1
                text += choice.choice(BLOCKS).format(seconds=round(choice.uniform(0.012, 0.030), 4))
                lines[f"test_{module:04}.py::test_{number}"] = (first, text.count("\n"))
        (folder / f"test_{module:04}.py").write_text(text)
    return lines


def start(folder: Path, *options: str, turns: tuple[int, int] | None = None) -> subprocess.Popen[str]:
    """Start pytest there, with the descriptors by which it waits for its turn and says that it does."""
    # Bytecode is kept, as it is for installed packages.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    if turns is not None:
        environment["TURNS"] = ",".join(map(str, turns))
        environment["AT_ONCE"] = str(AT_ONCE)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *options],
        cwd=folder,
        env=environment,
        pass_fds=turns or (),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    """Wait for its end."""
    output, _ = process.communicate()
    if process.returncode not in (0, 1):
        raise SystemExit(output)


class Parts(NamedTuple):
    """Seconds of a run of the suite."""

    loading: float
    """Until its conftest.py was loaded."""
    first: float
    """From there until the first test."""
    turns: list[float]
    last: float
    """After the last test."""


class Turns:
    """A run of the suite that stands still until it is its turn."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        reading, self._go = os.pipe()
        self._waits, writing = os.pipe()
        self._started = time.time()
        self._process = start(folder, *options, turns=(reading, writing))
        os.close(reading)
        os.close(writing)
        self._until_it_waits()

    def go_on(self) -> None:
        """Let it run until it waits for its next turn."""
        os.write(self._go, b"x")
        self._until_it_waits()

    def _until_it_waits(self) -> None:
        if not os.read(self._waits, 1):  # it has ended instead
            end(self._process)
            raise SystemExit("pytest ended before its last turn")

    def end(self) -> Parts:
        """Let it come to its end."""
        os.write(self._go, b"x")
        end(self._process)
        ended = time.time()
        os.close(self._go)
        os.close(self._waits)
        loaded, before_tests, *turns, last = json.loads((self.folder / "parts.json").read_text())
        return Parts(loaded - self._started, before_tests, turns, ended - last)


def cost(suite: Suite, rounds: int) -> Table:
    """Seconds with and without the plugin."""
    pairs: list[tuple[Parts, Parts]] = []
    choice = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / part for part in ("without", "plugin_")]
        for folder in folders:
            folder.mkdir()
            write_suite(folder, suite, 0, seed=1)
            end(start(folder, "--loopblock"))  # compiles
            (folder / "conftest.py").write_text(CONFTEST)
        for turn in track(range(-1, rounds), "with and without, in turns"):
            both = [lambda: Turns(folders[0]), lambda: Turns(folders[1], "--loopblock")]
            order = choice.sample((0, 1), 2)
            runs = {which: both[which]() for which in order}
            for _ in range(0, suite.tests, AT_ONCE):
                for which in choice.sample((0, 1), 2):
                    runs[which].go_on()
            measured = {which: runs[which].end() for which in order}
            if turn >= 0:  # the first compiles the conftest.py
                pairs.append((measured[0], measured[1]))
    title = f"{suite.tests} async tests ({suite.name}, {suite.loop}), {rounds} rounds"
    table = Table("", "without", "--loopblock", "ratio", title=title)
    resampled = sorted(ratio(choice.choices(pairs, k=rounds)) for _ in range(400))
    for title, base, added in parts(pairs):
        table.add_row(f"{title}, s", f"{base:.3f}", f"{base + added:.3f}", f"{1 + added / base:.4f}")
    table.add_row("all", "", "", f"{ratio(pairs):.4f} ({resampled[10]:.4f} to {resampled[-11]:.4f})")
    return table


def parts(pairs: list[tuple[Parts, Parts]]) -> list[tuple[str, float, float]]:
    """Name of a part of the run, seconds without the plugin, and how many more with it."""
    before = [run.loading for pair in pairs for run in pair]  # of both: it is the same
    first = [(off.first, on.first) for off, on in pairs]
    turns = [neighbours for off, on in pairs for neighbours in zip(off.turns, on.turns, strict=True)]
    last = [(off.last, on.last) for off, on in pairs]
    found = [("until conftest.py", statistics.median(before), 0.0)]
    for title, seconds, times in (
        ("until the first test", first, 1),
        ("tests", turns, len(turns) // len(pairs)),
        ("after the last", last, 1),
    ):
        base, added = statistics.median(a for a, _ in seconds), statistics.median(b - a for a, b in seconds)
        found.append((title, times * base, times * added))
    return found


def ratio(pairs: list[tuple[Parts, Parts]]) -> float:
    """With the plugin per without."""
    found = parts(pairs)
    return 1 + sum(added for *_, added in found) / sum(base for _, base, _ in found)


FINDING = ("--loopblock", "--loopblock-own-lines=fail", "--loopblock-report=report.json")
"""What is planted stands in the tests themselves."""


def findings(suite: Suite, blocks: int) -> Table:
    """Which planted blocks failed their test, with their own line, and who else failed."""
    table = Table("", "failed", "with its line", "innocent failed", "not counted", title=f"{blocks} planted")
    for title, options in (("one process", ()), ("-n 2", ("-n", "2"))):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            lines = write_suite(folder, suite, blocks, seed=2)
            end(start(folder, *FINDING, *options))
            report = json.loads((folder / "report.json").read_text())
        failed = [block for block in report["blocks"] if block["fails"]]
        guilty = {block["test"] for block in failed} & set(lines)
        own = {
            block["test"]
            for block in failed
            if block["test"] in lines
            and lines[block["test"]][0]
            <= block["attributes"].get("code.line.number", 0)
            <= lines[block["test"]][1]
        }
        innocent = {block["test"] for block in failed} - set(lines)
        table.add_row(
            title,
            f"{len(guilty)} of {blocks}",
            f"{len(own)}",
            f"{len(innocent)} of {suite.tests - blocks}",
            str(len(report["blocks"]) - len(failed)),
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--suite", choices=sorted(SUITES), default="loop")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=100)
    args = parser.parse_args()
    console = Console()
    suite = Suite(args.suite, args.loop, args.tests)
    if args.rounds:
        console.print(cost(suite, args.rounds))
    if args.blocks:
        console.print(findings(suite, args.blocks))


if __name__ == "__main__":
    main()
