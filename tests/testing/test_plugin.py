"""The pytest plugin, by pytest's own pytester: which tests fail, with what, and what is said at the end."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from otel_loopblock.watch.monitor import listeners

pytest_plugins = ["pytester"]

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""

THRESHOLD = "loopblock_threshold = 30ms\n"
"""Where a test does not set its own: a machine that stands still for 10 ms would fail innocent ones."""

OWN_LINES = "loopblock_own_lines = fail\n"
"""Where a test does not set it: what blocks in these suites stands in the file of the tests."""

HEAD = """
import asyncio, contextlib, time, unittest
import pytest
import pytest_asyncio

def stall(seconds=0.08):
    time.sleep(seconds)
"""

BLOCKING = "async def test_blocks():\n    await asyncio.sleep(0)\n    stall()\n"
INNOCENT = "async def test_innocent():\n    await asyncio.sleep(0.03)\n"


@pytest.fixture
def suite(pytester):
    """Writes a suite; returns what runs it in this process."""

    def write(body, ini=""):
        own = ini if "loopblock_threshold" in ini else THRESHOLD + ini
        own = own if "loopblock_own_lines" in ini else OWN_LINES + own
        pytester.makefile(".ini", pytest=INI + own)
        pytester.makepyfile(test_it=HEAD + body)

        def run(*options):
            return pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)

        return run

    original = asyncio.Handle._run
    yield write
    assert asyncio.Handle._run is original
    assert listeners.now == ()


def line_of(pytester, text):
    return (pytester.path / "test_it.py").read_text().splitlines().index(text) + 1


def report_of(pytester, name="report.json"):
    return json.loads((pytester.path / name).read_text())


def failing(report):
    return sorted({block["test"].partition("::")[2] for block in report["blocks"] if block["fails"]})


# -- inert until asked -----------------------------------------------------------------------------------


def test_nothing_happens_without_being_asked(suite):
    result = suite(BLOCKING)()

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("loopblock*")
    result.stdout.no_fnmatch_line("*event loop blocked*")


def test_inert_plugin_imports_nothing_of_opentelemetry_or_of_the_hooks(pytester):
    pytester.makepyfile("def test_a(): pass")
    pytester.makeconftest(
        "import sys\n"
        "def pytest_sessionfinish():\n"
        "    print('IMPORTED', sorted(n for n in sys.modules if "
        "n.startswith(('otel_loopblock', 'opentelemetry', 'wrapt'))))\n"
    )

    result = pytester.runpytest_subprocess("-s", "-p", "no:asyncio")

    (line,) = [line for line in result.outlines if "IMPORTED" in line]
    assert "otel_loopblock.testing.plugin" in line
    assert set(re.findall(r"'([^']+)'", line)) == {
        "otel_loopblock",
        "otel_loopblock.testing",
        "otel_loopblock.testing.own_lines",
        "otel_loopblock.testing.plugin",
        "otel_loopblock.testing.plugin.settings",
        "otel_loopblock.version",
    }


def test_tests_that_do_not_block_pay_for_no_more_than_is_needed_to_see_it(pytester):
    pytester.makeconftest(
        "import sys\n"
        "def pytest_sessionfinish(session):\n"
        "    print('IMPORTED', sorted(n for n in sys.modules if "
        "n.startswith(('otel_loopblock', 'opentelemetry', 'wrapt'))))\n"
        "    plugins = session.config.pluginmanager\n"
        "    names = [name for name, _ in plugins.list_name_plugin()]\n"
        "    print('CALLED', sorted(name for name in names if name.startswith('loopblock-')))\n"
    )
    pytester.makefile(".ini", pytest="[pytest]")
    pytester.makepyfile("import asyncio\ndef test_a():\n    asyncio.run(asyncio.sleep(0.001))")

    options = ("-s", "--loopblock", "-p", "no:asyncio", "-p", "no:cacheprovider")
    result = pytester.runpytest_subprocess(*options)

    result.assert_outcomes(passed=1)
    (imported,) = [line for line in result.outlines if "IMPORTED" in line]
    (called,) = [line for line in result.outlines if "CALLED" in line]
    modules = set(re.findall(r"'([^']+)'", imported))
    assert {"otel_loopblock.hooks.asyncio", "otel_loopblock.watch.watchdog"} <= modules
    rooms = ("opentelemetry", "wrapt", *(f"otel_loopblock.{name}" for name in ("delayed", "emit", "explain")))
    assert not {name for name in modules if name.startswith(rooms)}
    unneeded = "config testing.builder testing.plugin.baseline testing.plugin.judge"
    hooks = "already_running protocols unhooked uvloop"
    for name in (*unneeded.split(), *(f"hooks.{name}" for name in hooks.split())):
        assert find_spec(f"otel_loopblock.{name}") is not None
        assert f"otel_loopblock.{name}" not in modules
    assert re.findall(r"'([^']+)'", called) == ["loopblock-reporter", "loopblock-watcher"]


def test_tests_are_counted_in_a_report_without_a_block(suite, pytester):
    suite(INNOCENT + "def test_plain():\n    pass\n")("--loopblock-report=report.json")

    assert report_of(pytester)["tests"] == 2
    assert report_of(pytester)["blocks"] == []


def test_modules_of_the_package_are_imported_as_any_others(pytester):
    pytester.makepyfile(
        """
        from otel_loopblock.testing.plugin import baseline

        def test_loader():
            assert type(baseline.__loader__).__name__ == "SourceFileLoader"
        """
    )

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--loopblock")

    result.assert_outcomes(passed=1)


def test_plugin_can_be_switched_off(suite):
    result = suite(BLOCKING)("-p", "no:loopblock")

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("without", ["terminal", "unittest", "junitxml", "logging", "anyio"])
def test_runs_without_other_plugins(suite, without):
    result = suite(BLOCKING)("--loopblock", "-p", f"no:{without}")

    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("ini", "options", "on"),
    [
        ("", ["--loopblock"], True),
        ("loopblock = true", [], True),
        ("loopblock = true", ["--no-loopblock"], False),
        ("", ["--loopblock-threshold=20ms"], False),
        ("loopblock_threshold = 20ms", [], False),
        ("", ["--loopblock-report=report.json"], True),
    ],
)
def test_turned_on_by_option_or_one_line_of_the_ini_file(suite, ini, options, on):
    result = suite(BLOCKING + INNOCENT, ini)(*options)

    result.assert_outcomes(passed=1 if on else 2, failed=1 if on else 0)


# -- a test that blocks ------------------------------------------------------------------------------------


def test_blocking_test_fails_with_the_culprits_line_first_and_in_the_summary(suite, pytester):
    result = suite(BLOCKING + INNOCENT)("--loopblock")

    line = line_of(pytester, "    time.sleep(seconds)")
    result.assert_outcomes(passed=1, failed=1)
    head = result.outlines.index(next(x for x in result.outlines if re.match("_+ test_blocks _+", x)))
    assert re.match(
        rf"test_it\.py:{line}: stall blocked the event loop for \d+ ms in time\.sleep \(wait\)\. Use await",
        result.outlines[head + 1],
    )
    result.stdout.fnmatch_lines(
        [
            '*test_it.py", line *, in test_blocks',
            f'*test_it.py", line {line}, in stall',
            "*event loop blocked*",
            f"*ms  test_it.py:{line} test_it.stall → time.sleep (wait), in test_it.py::test_blocks",
            f"FAILED test_it.py::test_blocks - test_it.py:{line}: stall*",
            "*1 failed, 1 passed*",
        ]
    )


def test_own_failure_of_a_test_goes_first_and_the_block_is_shown_beside_it(suite, pytester):
    result = suite(
        "async def test_both():\n    stall()\n    assert 1 == 2\n"
        "async def test_skipped():\n    stall()\n    pytest.skip('why')\n"
        "@pytest.mark.xfail(strict=True)\nasync def test_expected():\n    stall()\n"
    )("--loopblock", "--loopblock-report=report.json", "-rfsx")

    result.assert_outcomes(failed=1, skipped=1, xfailed=1)
    assert failing(report_of(pytester)) == ["test_both"]
    result.stdout.fnmatch_lines(["E*assert 1 == 2", "*Event loop blocked*", "test_it.py:*: stall blocked*"])
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_both - *assert 1 == 2"])


def test_threshold_is_taken_from_option_ini_and_marker(suite, pytester):
    run = suite(
        "async def test_20():\n    stall(0.02)\n"
        "@pytest.mark.loopblock(threshold_ms=5)\nasync def test_8():\n    stall(0.008)\n"
        "@pytest.mark.loopblock(threshold_ms=3000)\nasync def test_40():\n    stall()\n",
        "loopblock_threshold = 2s",
    )

    run("--loopblock", "--loopblock-report=ini.json")
    run("--loopblock", "--loopblock-report=option.json", "--loopblock-threshold=10ms")

    assert failing(report_of(pytester, "ini.json")) == ["test_8"]
    assert failing(report_of(pytester, "option.json")) == ["test_20", "test_8"]
    assert report_of(pytester, "option.json")["threshold_ms"] == 10


def test_threshold_is_10_ms_where_none_is_set(pytester):
    pytester.makefile(".ini", pytest=INI)
    pytester.makepyfile(test_it=HEAD + INNOCENT)

    pytester.runpytest_inprocess("-p", "no:cacheprovider", "--loopblock-report=report.json")

    assert report_of(pytester)["threshold_ms"] == 10


def test_allowed_functions_and_calls_do_not_fail(suite, pytester):
    suite(
        "@pytest.mark.loopblock(allow=['*.stall'])\nclass TestIt:\n"
        "    async def test_inherited(self):\n        stall()\n"
        "    @pytest.mark.loopblock(allow='nothing.*')\n    async def test_added(self):\n        stall()\n"
        "async def test_by_ini():\n    until = time.thread_time() + 0.04\n"
        "    while time.thread_time() < until: pass\n"
        "@pytest.mark.loopblock_off\nasync def test_off():\n    stall()\n"
        "async def test_by_fixture(loopblock):\n    loopblock.allow('time.sleep')\n    stall()\n"
        "async def test_in_part(loopblock):\n    with loopblock.allowed():\n        stall()\n" + BLOCKING,
        "loopblock_allow =\n    other.*\n    test_it.test_by_ini",
    )("--loopblock", "--loopblock-report=report.json")

    assert {block["test"] for block in report_of(pytester)["blocks"]} == {"test_it.py::test_blocks"}


def test_marker_and_fixture_ask_for_their_test_alone(suite):
    result = suite(
        "async def test_plain():\n    stall()\n"
        "@pytest.mark.loopblock\nasync def test_marked():\n    stall()\n"
        "async def test_fixture(loopblock):\n    stall()\n    await asyncio.sleep(0)\n"
        "    assert [block.call for block in loopblock.blocks] == ['time.sleep']\n"
    )("-v")

    result.stdout.fnmatch_lines(
        [
            "*test_plain PASSED*",
            "*test_marked FAILED*",
            "*test_fixture FAILED*",
        ]
    )
    result.stdout.no_fnmatch_line("*AssertionError*")


def test_what_a_detect_blocking_in_the_test_has_raised_does_not_fail_it_again(suite):
    result = suite(
        "from otel_loopblock.testing import EventLoopBlocked, detect_blocking\n"
        "async def test_expects():\n    with pytest.raises(EventLoopBlocked):\n"
        "        async with detect_blocking(own_lines='fail'):\n            await asyncio.sleep(0)\n"
        "            stall()\n@detect_blocking(own_lines='fail')\nasync def test_decorated():\n    stall()\n"
    )("--loopblock", "-v")

    result.stdout.fnmatch_lines(["*test_expects PASSED*", "*test_decorated FAILED*"])
    result.assert_outcomes(passed=1, failed=1)


# -- who judges, and when ----------------------------------------------------------------------------------

IS_JUDGED = "request.config.pluginmanager.has_plugin('loopblock-judge')"


def test_only_tests_that_have_blocked_or_ask_for_something_are_judged(suite):
    result = suite(
        f"def test_before(request):\n    assert not {IS_JUDGED}\n"
        f"async def test_blocks(request):\n    await asyncio.sleep(0)\n    stall()\n"
        f"    await asyncio.sleep(0)\n    assert {IS_JUDGED}\n"
        f"def test_after(request):\n    assert not {IS_JUDGED}\n"
        f"@pytest.mark.loopblock(threshold_ms=5)\ndef test_marked(request):\n    assert {IS_JUDGED}\n"
        f"def test_last(request):\n    assert not {IS_JUDGED}\n"
    )("--loopblock", "-v")

    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*test_blocks FAILED*"])
    result.stdout.no_fnmatch_line("*AssertionError*")


GARBAGE = """
import gc

MANY = 1_500_000

@pytest.fixture
def many():
    gc.collect()
    gc.disable()
    kept = [[] for _ in range(MANY)]
    yield kept
    gc.enable()

async def test_is_paused(many):
    await asyncio.sleep(0.05)
    gc.enable()
    [[] for _ in range(1000)]
    await asyncio.sleep(0)
"""


def test_block_by_the_garbage_collector_is_told_at_the_end_and_calls_no_judge(suite, pytester):
    unjudged = GARBAGE.replace("many):", "many, request):") + f"    assert not {IS_JUDGED}\n"
    result = suite(unjudged)("--loopblock-report=report.json", "--loopblock-threshold=20ms")

    result.assert_outcomes(passed=1)
    report = report_of(pytester)
    assert report["blocks"] == []
    assert report["garbage_collector"]["blocks"] == 1
    assert 0.02 <= report["garbage_collector"]["longest"] < 30
    result.stdout.fnmatch_lines(["*event loop blocked*", "not counted: 1 block by the garbage collector, *"])


def test_collection_that_the_test_has_asked_for_counts(suite, pytester):
    asked = GARBAGE.replace("gc.enable()\n    [[] for _ in range(1000)]", "gc.collect()")
    suite(asked)("--loopblock-report=report.json", "--loopblock-threshold=20ms").assert_outcomes(failed=1)

    (block,) = report_of(pytester)["blocks"]
    assert block["attributes"]["event_loop.block.call"] == "gc.collect"
    assert report_of(pytester)["garbage_collector"]["blocks"] == 0


def test_collection_that_leaves_a_block_of_the_tests_own_counts(suite, pytester):
    both = GARBAGE.replace("range(1000)]", "range(1000)]\n    stall(MANY / 1e6)")
    suite(both)("--loopblock-report=report.json", "--loopblock-threshold=20ms").assert_outcomes(failed=1)

    assert failing(report_of(pytester)) == ["test_is_paused"]
    assert report_of(pytester)["garbage_collector"]["blocks"] == 0


def test_test_with_options_of_its_own_sees_blocks_by_the_garbage_collector(suite):
    suite(
        GARBAGE.replace("many):", "many, loopblock):")
        + "    assert [block.cause for block in loopblock.blocks] == ['gc']\n"
    )("--loopblock", "--loopblock-threshold=20ms").assert_outcomes(passed=1)


def test_blocks_by_the_garbage_collector_of_all_workers_are_added_up(suite, pytester):
    twice = GARBAGE + "async def test_too(many):\n    await test_is_paused(many)\n"
    result = suite(twice)("-n", "2", "--loopblock-report=report.json", "--loopblock-threshold=20ms")

    result.assert_outcomes(passed=2)
    assert report_of(pytester)["garbage_collector"]["blocks"] == 2


def test_what_callbacks_did_before_a_test_is_not_charged_to_it(suite):
    suite(
        "ended = []\n"
        "def test_first():\n    ended.append(time.perf_counter())\n"
        "def test_second(request):\n"
        "    watcher = request.config.pluginmanager.get_plugin('loopblock-watcher')\n"
        "    assert ended[0] < watcher._shared.entered < time.perf_counter()\n"
    )("--loopblock").assert_outcomes(passed=2)


def test_test_that_is_run_again_is_judged_anew(suite, pytester):
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):  # as pytest-rerunfailures does
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for attempt in range(3):
                item.runs = attempt
                reports = runtestprotocol(item, nextitem=nextitem, log=False)
                print("ATTEMPT", attempt, [report.outcome for report in reports])
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            return True
        """
    )
    result = suite(
        "async def test_it(request):\n    if request.node.runs < 2:\n        stall()\n",
    )("--loopblock", "-s")

    attempts = [line.partition("ATTEMPT ")[2] for line in result.outlines if "ATTEMPT " in line]
    failed, passed = "['passed', 'failed', 'passed']", "['passed', 'passed', 'passed']"
    assert attempts == [f"0 {failed}", f"1 {failed}", f"2 {passed}"]
    result.assert_outcomes(passed=1)


def test_block_that_lasts_when_its_test_ends_fails_it_and_the_next_one_for_its_own_part(suite, pytester):
    suite(
        """
import threading

@pytest.fixture(scope="module")
def elsewhere():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()

done = threading.Event()

def block():
    stall(1.0)
    done.set()

def test_begins(elsewhere):
    elsewhere.call_soon_threadsafe(block)
    time.sleep(0.4)

def test_meets_its_end(elsewhere):
    assert done.wait(30)

def test_comes_later(elsewhere):
    time.sleep(0.05)
"""
    )("--loopblock", "--loopblock-report=report.json")

    report = report_of(pytester)
    assert failing(report) == ["test_begins", "test_meets_its_end"]
    # On a busy machine another callback of that loop may block as well, and a set-up take a threshold.
    blocks = [block for block in report["blocks"] if "stall" in block["headline"]]
    durations = [block["attributes"]["event_loop.block.duration"] for block in blocks]
    assert len(durations) >= 2
    assert sum(durations) < 1.0 + durations[0]  # the second has not been charged with what the first was
    assert "teardown" not in {block["phase"] for block in blocks}


def test_test_that_asks_for_the_fixture_as_it_runs_has_options_of_its_own_from_then_on(suite, pytester):
    result = suite(
        "async def test_asks(request):\n    request.getfixturevalue('loopblock').allow('time.sleep')\n"
        "    await asyncio.sleep(0)\n    stall()\n" + BLOCKING
    )("--loopblock", "--loopblock-report=report.json")

    result.assert_outcomes(passed=1, failed=1)
    assert failing(report_of(pytester)) == ["test_blocks"]


# -- fixtures ----------------------------------------------------------------------------------------------


def test_set_up_of_a_tests_own_fixture_fails_it_and_teardown_is_an_error(suite, pytester):
    result = suite(
        "@pytest_asyncio.fixture\nasync def slow_start():\n    stall()\n    yield\n"
        "@pytest_asyncio.fixture\nasync def slow_end():\n    yield\n    stall()\n"
        "async def test_start(slow_start):\n    pass\n"
        "async def test_end(slow_end):\n    pass\n" + INNOCENT
    )("--loopblock", "--loopblock-report=report.json")

    result.assert_outcomes(passed=2, failed=1, errors=1)
    assert [
        (block["test"].partition("::")[2], block["phase"]) for block in report_of(pytester)["blocks"]
    ] == [
        ("test_start", "setup"),
        ("test_end", "teardown"),
    ]


def test_fixture_shared_by_several_tests_is_reported_and_fails_none(suite, pytester):
    result = suite(
        "@pytest_asyncio.fixture(scope='module', loop_scope='module')\nasync def shared():\n"
        "    stall()\n    yield\n    stall()\n"
        "@pytest.mark.asyncio(loop_scope='module')\nasync def test_first(shared):\n    pass\n"
        "@pytest.mark.asyncio(loop_scope='module')\nasync def test_last(shared):\n    pass\n"
    )("--loopblock", "--loopblock-report=report.json")

    result.assert_outcomes(passed=2)
    blocks = report_of(pytester)["blocks"]
    assert [block["excuse"] for block in blocks] == ["module fixture shared"] * 2
    result.stdout.fnmatch_lines(
        ["*test_it.stall → time.sleep (wait)*[[]not counted: module fixture shared[]]"]
    )


# -- what runs the loop ------------------------------------------------------------------------------------


def test_works_with_every_way_of_running_a_loop(suite, pytester):
    pytest.importorskip("fastapi")
    suite(
        """
import httpx, uvloop
from fastapi import FastAPI
from fastapi.testclient import TestClient

app = FastAPI()

@app.get("/slow")
async def slow():
    stall()
    return {}

@app.get("/fast")
async def fast():
    return {}

@app.get("/threaded")
def threaded():
    stall()
    return {}

def test_client_slow():
    assert TestClient(app).get("/slow").status_code == 200

def test_client_kept_open_slow():
    with TestClient(app) as client:
        assert client.get("/slow").status_code == 200

def test_client_fast():
    assert TestClient(app).get("/fast").status_code == 200

def test_client_threaded():
    assert TestClient(app).get("/threaded").status_code == 200

async def test_transport_slow():
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/slow")).status_code == 200

def test_run_slow():
    async def main():
        stall()
    asyncio.run(main())

def test_uvloop_slow():
    async def main():
        await asyncio.sleep(0)
        stall()
    uvloop.run(main())

def test_without_a_loop():
    stall()

class TestUnit(unittest.IsolatedAsyncioTestCase):
    async def test_unit_slow(self):
        await asyncio.sleep(0)
        stall()

    async def test_unit_fast(self):
        await asyncio.sleep(0.03)

    async def test_unit_own_failure(self):
        stall()
        self.assertEqual(1, 2)
"""
    )("--loopblock", "--loopblock-report=report.json")

    report = report_of(pytester)
    assert failing(report) == [
        "TestUnit::test_unit_own_failure",
        "TestUnit::test_unit_slow",
        "test_client_kept_open_slow",
        "test_client_slow",
        "test_run_slow",
        "test_transport_slow",
        "test_uvloop_slow",
    ]
    line = line_of(pytester, "    time.sleep(seconds)")
    assert {block["attributes"]["code.line.number"] for block in report["blocks"] if block["fails"]} == {line}


def test_anyio_on_asyncio_is_watched_and_trio_is_plainly_not_covered(suite, pytester):
    result = suite(
        "pytestmark = pytest.mark.anyio\n"
        "async def test_slow():\n    import anyio\n    await anyio.sleep(0)\n    stall()\n"
        "async def test_fast():\n    import anyio\n    await anyio.sleep(0.03)\n"
    )("--loopblock", "--loopblock-report=report.json", "-p", "no:asyncio", "-o", "addopts=")

    result.assert_outcomes(passed=3, failed=1)
    assert failing(report_of(pytester)) == ["test_slow[asyncio]"]
    result.stdout.fnmatch_lines(
        ["not covered: 2 tests ran on trio, and only asyncio and uvloop are watched*"]
    )


@pytest.mark.parametrize("asked", ["option", "marker"])
def test_results_travel_with_xdist(suite, pytester, asked):
    suite(
        ("" if asked == "option" else "pytestmark = pytest.mark.loopblock\n")
        + BLOCKING
        + "".join(f"async def test_{n}():\n    await asyncio.sleep(0.001)\n" for n in range(20))
    )

    options = ["--loopblock-report=report.json"] if asked == "option" else []
    result = pytester.runpytest_subprocess("-n", "2", *options)

    result.assert_outcomes(passed=20, failed=1)
    result.stdout.fnmatch_lines(
        ["*ms  test_it.py:* test_it.stall → time.sleep (wait), in test_it.py::test_blocks"]
    )
    if asked == "option":
        assert failing(report_of(pytester)) == ["test_blocks"]


# -- baseline, report, annotations ---------------------------------------------------------------------------


def test_baseline_lets_known_blocks_pass_and_new_ones_fail_and_survives_shifted_lines(suite, pytester):
    run = suite(BLOCKING)
    result = run("--loopblock-baseline=base.json", "--loopblock-update-baseline")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 blocks added to the baseline*"])
    written = json.loads((pytester.path / "base.json").read_text())
    assert written == {"version": 1, "blocks": [{"function": "test_it.stall", "call": "time.sleep"}]}

    shifted = suite("\n" * 7 + BLOCKING + "async def test_new():\n    time.sleep(0.04)\n")
    result = shifted("--loopblock", "--loopblock-baseline=base.json", "--loopblock-report=report.json")

    result.assert_outcomes(passed=1, failed=1)
    assert failing(report_of(pytester)) == ["test_new"]
    result.stdout.fnmatch_lines(["*test_it.stall → time.sleep*[[]not counted: baseline[]]"])


def test_baseline_is_named_in_the_ini_file_too(suite, pytester):
    (pytester.path / "base.json").write_text(
        '{"version": 1, "blocks": [{"function": "test_it.stall", "call": "time.sleep"}]}'
    )

    suite(BLOCKING, "loopblock_baseline = base.json")("--loopblock").assert_outcomes(passed=1)


def test_sarif_names_rule_place_and_message(suite, pytester):
    suite(BLOCKING)("--loopblock-report=out.sarif")

    log = report_of(pytester, "out.sarif")
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["event_loop.blocked.wait"]
    (result,) = run["results"]
    assert result["ruleId"] == "event_loop.blocked.wait"
    assert result["level"] == "error"
    assert "stall blocked the event loop" in result["message"]["text"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "test_it.py", "uriBaseId": "ROOT"}
    assert place["region"] == {"startLine": line_of(pytester, "    time.sleep(seconds)")}
    assert run["originalUriBaseIds"]["ROOT"]["uri"] == pytester.path.as_uri() + "/"


@pytest.mark.parametrize(
    ("variable", "option", "printed"),
    [("true", [], True), ("", [], False), ("", ["github"], True), ("true", ["none"], False)],
)
def test_github_annotations(suite, pytester, monkeypatch, variable, option, printed):
    monkeypatch.setenv("GITHUB_ACTIONS", variable)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)

    result = suite(BLOCKING)("--loopblock", *(f"--loopblock-annotations={value}" for value in option))

    line = line_of(pytester, "    time.sleep(seconds)")
    expected = f"::error file=test_it.py,line={line},title=Event loop blocked::test_it.py:{line}: stall*"
    if printed:
        result.stdout.fnmatch_lines([expected])
    else:
        result.stdout.no_fnmatch_line("::error*")


# -- the tests' own lines --------------------------------------------------------------------------------

APPLICATION = "import time\ndef load(): time.sleep(0.08)\n"

OWN = """
import application, helpers
from base import Base

async def test_itself():
    stall()

async def test_conftest(client):
    client()

async def test_set_up(set_up):
    pass

async def test_fixture_of_another_file(made):
    pass

async def test_coroutine_of_the_conftest(async_client):
    pass

class TestInherited(Base):
    async def test_own(self):
        pass

async def test_application():
    application.load()

async def test_application_below_a_fixture(loaded):
    pass
"""

CONFTEST = """
import time
import pytest, pytest_asyncio
import application
pytest_plugins = ["helpers"]

@pytest.fixture
def client():
    return lambda: time.sleep(0.08)

@pytest_asyncio.fixture
async def set_up():
    time.sleep(0.08)

@pytest_asyncio.fixture
async def loaded():
    application.load()
"""

HELPERS = """
import contextlib, time
import pytest_asyncio

@pytest_asyncio.fixture
async def made():
    time.sleep(0.08)

@pytest_asyncio.fixture
async def async_client():
    with begun():
        yield

@contextlib.contextmanager
def begun():
    time.sleep(0.08)
    yield
"""

BASE = "import time\nclass Base:\n    async def test_base(self):\n        time.sleep(0.08)\n"

APPLICATIONS = ["test_application", "test_application_below_a_fixture"]
OWN_TESTS = [
    "TestInherited::test_base",
    "test_conftest",
    "test_coroutine_of_the_conftest",
    "test_fixture_of_another_file",
    "test_itself",
    "test_set_up",
]


@pytest.fixture
def own_lines(suite, pytester):
    """Runs a suite whose own lines block, and those of an application; its blocks, by test."""

    def run(*options, ini="loopblock_own_lines =\n"):
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(application=APPLICATION, helpers=HELPERS, base=BASE)
        result = suite(OWN, ini)("--loopblock", "--loopblock-report=report.json", *options)
        found = {block["test"].partition("::")[2]: block["excuse"] for block in report_of(pytester)["blocks"]}
        return result, found

    return run


def test_own_lines_of_tests_are_listed_and_fail_nothing_and_the_applications_fail(own_lines, pytester):
    result, found = own_lines()

    result.assert_outcomes(passed=7, failed=2)
    assert failing(report_of(pytester)) == APPLICATIONS
    assert sorted(test for test, excuse in found.items() if excuse == "own line") == OWN_TESTS
    result.stdout.fnmatch_lines(
        [
            "*application.load → time.sleep*",
            "*test_it.stall → time.sleep*test_itself ?not counted: own line?",
        ]
    )


@pytest.mark.parametrize(
    ("options", "ini"),
    [
        ((), "loopblock_own_lines = fail"),
        (("--loopblock-own-lines=fail",), "loopblock_own_lines = ignore"),
        (("-n", "2"), "loopblock_own_lines = fail"),
    ],
)
def test_own_lines_of_tests_fail_them_where_that_is_wanted(own_lines, pytester, options, ini):
    result, _ = own_lines(*options, ini=ini)

    result.assert_outcomes(passed=1, failed=8)
    assert failing(report_of(pytester)) == sorted([*APPLICATIONS, *OWN_TESTS])


def test_own_lines_of_tests_are_left_out_where_that_is_wanted(own_lines):
    result, found = own_lines("--loopblock-own-lines=ignore")

    result.assert_outcomes(passed=7, failed=2)
    assert sorted(found) == APPLICATIONS
    result.stdout.no_fnmatch_line("*own line*")


def test_own_lines_are_told_in_workers_too(own_lines, pytester):
    result, found = own_lines("-n", "2")

    result.assert_outcomes(passed=7, failed=2)
    assert sorted(test for test, excuse in found.items() if excuse == "own line") == OWN_TESTS


def test_own_lines_are_no_entries_of_a_baseline(own_lines, pytester):
    result, _ = own_lines("--loopblock-baseline=base.json", "--loopblock-update-baseline")

    result.assert_outcomes(passed=9)
    entries = json.loads((pytester.path / "base.json").read_text())["blocks"]
    assert entries == [{"function": "application.load", "call": "time.sleep"}]


LIBRARY = "import time\ndef work():\n    time.sleep(0.08)\n"
LIBRARY_AT_WORK = """
import library, shop.prices
async def test_called_by_a_test():
    library.work()
async def test_called_by_the_loop():
    asyncio.get_running_loop().call_soon(library.work)
    await asyncio.sleep(0.01)
async def test_called_by_the_application():
    await shop.prices.load()
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["here", "in workers"])
def test_paths_say_whose_blocks_fail_a_test(suite, pytester, options):
    pytester.makepyfile(library=LIBRARY)
    pytester.mkpydir("shop").joinpath("prices.py").write_text(
        "import library\nasync def load():\n    library.work()\n"
    )
    run = suite(LIBRARY_AT_WORK, "loopblock_own_lines =\nloopblock_app_paths = shop\n")

    result = run("--loopblock", "--loopblock-report=report.json", *options)

    result.assert_outcomes(passed=2, failed=1)
    found = {block["test"].partition("::")[2]: block for block in report_of(pytester)["blocks"]}
    assert {test: block["excuse"] for test, block in found.items()} == {
        "test_called_by_a_test": "own line",
        "test_called_by_the_loop": "elsewhere",
        "test_called_by_the_application": None,
    }
    assert found["test_called_by_the_application"]["attributes"]["code.function.name"] == "shop.prices.load"


def test_marker_chooses_what_becomes_of_own_lines(suite, pytester):
    result = suite(
        "@pytest.mark.loopblock(own_lines='fail')\nasync def test_fails():\n    stall()\n"
        "@pytest.mark.loopblock\nasync def test_warns(loopblock):\n    stall()\n    await asyncio.sleep(0)\n"
        "    assert len(loopblock.blocks) == 1\n"
        "@pytest.mark.loopblock(own_lines='ignore')\nasync def test_ignores(loopblock):\n    stall()\n"
        "    await asyncio.sleep(0)\n    assert loopblock.blocks == []\n",
        "loopblock_own_lines = warn",
    )("--loopblock-report=report.json")

    result.assert_outcomes(passed=2, failed=1)
    assert failing(report_of(pytester)) == ["test_fails"]


def test_detect_blocking_warns_of_own_lines_and_raises_for_the_applications(suite, pytester):
    pytester.makepyfile(application=APPLICATION)
    result = suite(
        "import application, warnings\n"
        "from otel_loopblock.testing import EventLoopBlocked, OwnLineBlocked, detect_blocking\n"
        "def test_default():\n"
        "    with pytest.warns(OwnLineBlocked, match='stall blocked the event loop'):\n"
        "        with detect_blocking(30) as found:\n            asyncio.run(blocks(stall))\n"
        "    assert len(found.blocks) == 1\n"
        "def test_fail():\n"
        "    with pytest.raises(EventLoopBlocked):\n"
        "        with detect_blocking(30, own_lines='fail'):\n            asyncio.run(blocks(stall))\n"
        "def test_ignore():\n"
        "    with warnings.catch_warnings():\n"
        "        warnings.simplefilter('error')\n"
        "        with detect_blocking(30, own_lines='ignore') as found:\n"
        "            asyncio.run(blocks(stall))\n"
        "    assert found.blocks == []\n"
        "@pytest.mark.parametrize('own_lines', ['fail', 'warn', 'ignore'])\n"
        "def test_application(own_lines):\n"
        "    with pytest.raises(EventLoopBlocked, match='application.py'):\n"
        "        with detect_blocking(30, own_lines=own_lines):\n"
        "            asyncio.run(blocks(application.load))\n"
        "async def blocks(function):\n    function()\n"
    )()

    result.assert_outcomes(passed=6)


# -- usage errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--loopblock-threshold=abc"], "--loopblock-threshold='abc' cannot be used; it must be a duration"),
        (["--loopblock-threshold=10min"], "--loopblock-threshold='10min' cannot be used"),
        (["--loopblock-threshold=0"], "--loopblock-threshold='0' cannot be used"),
        (["-o", "loopblock_threshold=-1ms"], "loopblock_threshold='-1ms' cannot be used"),
        (
            ["--loopblock-own-lines=maybe"],
            "--loopblock-own-lines='maybe' cannot be used; it must be one of fail",
        ),
        (["-o", "loopblock_own_lines=x"], "loopblock_own_lines='x' cannot be used; it must be one of fail"),
        (["--loopblock-annotations=maybe"], "--loopblock-annotations='maybe' cannot be used"),
        (["--loopblock-report=no/such/folder.json"], "there is no directory"),
        (["--loopblock-report=."], "it is a directory"),
        (["--loopblock", "--loopblock-baseline=none.json"], "--loopblock-baseline: there is no file"),
        (["--loopblock", "--loopblock-baseline=test_it.py"], "is not JSON"),
        (["--loopblock", "--loopblock-baseline=list.json"], "is no baseline of version 1"),
        (
            ["--loopblock", "--loopblock-baseline=entry.json"],
            "has an entry that is not a function and a call",
        ),
        (["--loopblock-update-baseline"], "--loopblock-update-baseline needs --loopblock-baseline=FILE"),
    ],
)
def test_bad_value_is_one_line_and_a_usage_error(suite, pytester, options, words):
    run = suite(BLOCKING)
    (pytester.path / "list.json").write_text("[]")
    (pytester.path / "entry.json").write_text('{"version": 1, "blocks": [{"function": 1}]}')

    result = run(*options)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert line.startswith("ERROR: ")
    assert words in line


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("loopblock(threshold=5)", "takes threshold_ms=…, allow=[…], own_lines=…, not threshold"),
        ("loopblock(5)", "not 5"),
        ("loopblock(threshold_ms='x')", "threshold_ms='x' cannot be used"),
        ("loopblock(own_lines='x')", "own_lines='x' cannot be used; it must be one of fail, warn, ignore"),
    ],
)
@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "workers"])
def test_bad_marker_is_an_error_of_its_test_alone(suite, marker, words, options):
    result = suite(f"@pytest.mark.{marker}\nasync def test_a():\n    pass\nasync def test_b():\n    pass\n")(
        *options
    )

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(errors=1, passed=1)
    assert [line for line in result.outlines if line.startswith("ERROR test_it.py::test_a - Failed: ")]
    assert words in result.stdout.str()


def test_report_that_cannot_be_written_is_an_error_of_the_run(suite, pytester):
    suite(INNOCENT)
    code = (
        "import sys, pytest, pathlib\n"
        "class Late:\n"
        "    def pytest_runtestloop(self): pathlib.Path('late').rmdir()\n"
        "sys.exit(pytest.main(['--loopblock-report=late/r.json'], plugins=[Late()]))"
    )
    (pytester.path / "late").mkdir()

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: cannot be written" in done.stdout
