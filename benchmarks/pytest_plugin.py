"""The pytest plugin on a suite of 1,000 async tests: what it costs, and what it finds.

    python benchmarks/pytest_plugin.py [--suite loop|service] [--rounds 7] [--tests 1000] [--blocks 100]

First the suite, without a block in it, in turns with and without --loopblock, each in a process of its own.
Whole processes scatter by several per cent, so each test's time is taken by itself, and what is left of a
process is its start and end: of each the median of all rounds, added up. The suite "loop" has the shortest
of async tests: what the plugin takes per test is as large a share there as it can be. In "service" each test
makes a client and asks a small FastAPI application two or three times, in the same process.

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

from rich.console import Console
from rich.progress import track
from rich.table import Table

INI = """[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""

CONFTEST = """import json
import time

import pytest

seconds = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol():
    began = time.perf_counter()
    try:
        return (yield)
    finally:
        seconds.append(time.perf_counter() - began)


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        with open("seconds.json", "w") as file:
            json.dump(seconds, file)
"""
"""Notes how long each test takes, in seconds."""

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


def write_suite(folder: Path, suite: str, tests: int, blocks: int, seed: int) -> dict[str, tuple[int, int]]:
    """Write the suite.

    Returns:
        For each planted block the test's id and the first and last line that may be blamed.
    """
    choice = random.Random(seed)
    head, fixtures, bodies = SUITES[suite]
    planted = set(choice.sample(range(tests), blocks))
    lines: dict[str, tuple[int, int]] = {}
    (folder / "pytest.ini").write_text(INI)
    (folder / "conftest.py").write_text(CONFTEST)
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


def run(folder: Path, *options: str) -> float:
    """Run pytest there; wall seconds of the whole process."""
    # Bytecode is kept, as it is for installed packages.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=no", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - began
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    return took


def cost(suite: str, rounds: int, tests: int) -> Table:
    """Seconds with and without the plugin, in turns."""
    off: list[list[float]] = []
    on: list[list[float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_suite(folder, suite, tests, 0, seed=1)
        run(folder, "--loopblock")  # compiles
        for turn in track(range(rounds), "with and without, in turns"):
            for options, rows in (((), off), (("--loopblock",), on))[:: 1 if turn % 2 else -1]:
                whole = run(folder, *options)
                each = json.loads((folder / "seconds.json").read_text())
                rows.append([whole - sum(each), *each])
    table = Table(
        "", "without", "--loopblock", "ratio", title=f"{tests} async tests ({suite}), {rounds} rounds"
    )
    for title, choose in (("median", statistics.median), ("least", min)):
        rest_off, *tests_off = map(choose, zip(*off, strict=True))
        rest_on, *tests_on = map(choose, zip(*on, strict=True))
        for part, a, b in (
            ("start and end", rest_off, rest_on),
            ("tests", sum(tests_off), sum(tests_on)),
            ("all", rest_off + sum(tests_off), rest_on + sum(tests_on)),
        ):
            table.add_row(f"{part}, s, {title}", f"{a:.3f}", f"{b:.3f}", f"{b / a:.3f}")
    return table


def findings(suite: str, tests: int, blocks: int) -> Table:
    """Which planted blocks failed their test, with their own line, and who else failed."""
    table = Table("", "failed", "with its line", "innocent failed", "not counted", title=f"{blocks} planted")
    for title, options in (("one process", ()), ("-n 2", ("-n", "2"))):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            lines = write_suite(folder, suite, tests, blocks, seed=2)
            run(folder, "--loopblock", "--loopblock-report=report.json", *options)
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
            f"{len(innocent)} of {tests - blocks}",
            str(len(report["blocks"]) - len(failed)),
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--suite", choices=sorted(SUITES), default="loop")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=100)
    args = parser.parse_args()
    console = Console()
    if args.rounds:
        console.print(cost(args.suite, args.rounds, args.tests))
    if args.blocks:
        console.print(findings(args.suite, args.tests, args.blocks))


if __name__ == "__main__":
    main()
