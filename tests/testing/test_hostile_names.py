"""Names that nobody would choose, in all that the pytest plugin writes."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from otel_loopblock.cli.target import one_line
from otel_loopblock.testing.plugin import formats
from otel_loopblock.testing.plugin.baseline import Baseline, Known
from otel_loopblock.testing.plugin.pauses import Pauses

pytest_plugins = ["pytester"]

SUITE = """
import asyncio, time

NAME = "a\\nb\\x1b[31m\\udce9<script>[red]::error::x%0A,:" + "c" * 10_000
FILE = "/app/" + "d" * 3_000 + "/a:b,c\\n::error::x%\\x1b[31m\\udce9.py"

def test_it():
    namespace = {"__name__": "shop", "time": time}
    exec("def stall():\\n    time.sleep(0.2)\\n", namespace)
    stall = namespace["stall"]
    stall.__code__ = stall.__code__.replace(co_name=NAME, co_filename=FILE)
    if hasattr(stall.__code__, "co_qualname"):
        stall.__code__ = stall.__code__.replace(co_qualname=NAME)

    async def main():
        stall()

    asyncio.run(main())
"""


def test_nothing_that_is_written_is_forged_or_cannot_be_read(pytester, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    pytester.makefile(
        ".ini", pytest="[pytest]\nloopblock = true\nasyncio_default_fixture_loop_scope = function\n"
    )
    pytester.makepyfile(test_it=SUITE)
    result = pytester.runpytest_inprocess(
        "-p",
        "no:cacheprovider",
        "--junitxml=junit.xml",
        "--loopblock-report=report.json",
        "--loopblock-report=report.sarif",
        "--loopblock-annotations=github",
    )
    result.assert_outcomes(failed=1)

    for line in result.outlines:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", line), line
    annotations = [line for line in result.outlines if line.startswith("::")]
    assert len(annotations) == 1
    assert re.match(r"::error file=[^:,]+,line=\d+,title=[^:,]+::", annotations[0])
    assert ElementTree.parse(pytester.path / "junit.xml").find(".//failure") is not None
    (block,) = json.loads((pytester.path / "report.json").read_text("utf-8"))["blocks"]
    assert block["attributes"]["code.function.name"].startswith("shop.a\\nb\\x1b[31m\\udce9<script>")
    (run,) = json.loads((pytester.path / "report.sarif").read_text("utf-8"))["runs"]
    assert len(run["results"]) == 1
    assert len((pytester.path / "report.sarif").read_bytes()) < 40_000


def test_path_that_is_no_unicode_is_written_as_json_all_the_same(tmp_path):
    record = {
        "test": "tests/caf\udce9.py::test_it",
        "phase": "call",
        "fails": True,
        "excuse": None,
        "headline": "x",
        "attributes": {"event_loop.block.cause": "cpu", "event_loop.block.duration": 0.1},
    }
    for name in ("report.json", "report.sarif"):
        formats.write(tmp_path / name, [record], root=tmp_path, threshold_ms=10, tests=1, pauses=Pauses())
        assert "caf\\udce9" in (tmp_path / name).read_text("utf-8")
        json.loads((tmp_path / name).read_text("utf-8"))


def test_baseline_with_what_is_no_unicode_can_be_written_and_read_again(tmp_path):
    known = {Known("caf\udce9", "time.sleep")}
    Baseline(known).write(tmp_path / "baseline.json")
    assert Baseline.read(tmp_path / "baseline.json").known == known


@pytest.mark.parametrize("text", ["\x1b[2J\x07", "a\nb", "caf\udce9", "x" * 100_000])
def test_text_of_an_exception_is_one_bounded_line(text):
    shown = one_line(ValueError(text))
    shown.encode("utf-8")
    assert shown.isprintable()
    assert len(shown) < 1100
