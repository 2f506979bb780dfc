"""detect_blocking on both loops: what it finds, what it raises, and what it leaves alone."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import trio

from otel_loopblock import guard, testing
from otel_loopblock.explain.stack import Frame
from otel_loopblock.testing import EventLoopBlocked
from otel_loopblock.testing.detection import Detection
from otel_loopblock.testing.words import describe, excuse, headline
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import listeners
from otel_loopblock.watch.watchdog import THREAD_NAME

BLOCK_S = 0.04


def detect_blocking(*args, **options):
    """As for an application's code: what blocks here are a test's own lines."""
    return testing.detect_blocking(*args, **{"own_lines": "fail", **options})


def stall(seconds=BLOCK_S):
    time.sleep(seconds)


def other_stall():
    time.sleep(BLOCK_S)


def compute(seconds=BLOCK_S):
    ended = time.perf_counter() + seconds
    while time.perf_counter() < ended:
        pass


STALL_LINE = stall.__code__.co_firstlineno + 1


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    guard.failures.clear()
    original = asyncio.Handle._run
    yield
    assert asyncio.Handle._run is original
    assert listeners.now == ()
    assert not [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]
    assert not guard.failures, guard.failures


def functions(detected):
    # Shorter ones are not ours: any callback lasts so long when the machine stands still for a moment.
    blocks = [block for block in detected.blocks if block.duration_s > BLOCK_S / 2]
    return [block.culprit.function.rpartition(".")[2] for block in blocks]


# -- inside a running loop ---------------------------------------------------------------------------


def test_raises_when_the_body_blocks_within_one_callback(run):
    async def main():
        with detect_blocking():
            stall()

    with pytest.raises(EventLoopBlocked):
        run(main())


@pytest.mark.parametrize("function", [stall, compute])
def test_finds_a_block_before_the_first_await(run, function):
    async def main():
        with detect_blocking(raise_on_block=False) as detected:
            function()
            await asyncio.sleep(0.02)
        return detected

    detected = run(main())

    assert functions(detected) == [function.__name__]
    assert detected.blocks[0].duration_s == pytest.approx(BLOCK_S, abs=0.03)


def test_finds_blocks_in_callbacks_that_begin_and_end_inside(run):
    async def main():
        async with detect_blocking(raise_on_block=False) as detected:
            await asyncio.sleep(0.01)
            stall()
            await asyncio.sleep(0.01)
            compute()
            await asyncio.sleep(0.01)
        return detected

    assert functions(run(main())) == ["stall", "compute"]


def test_finds_a_block_between_the_last_await_and_the_end(run):
    async def main():
        async with detect_blocking(raise_on_block=False) as detected:
            await asyncio.sleep(0.01)
            stall()
        return detected

    assert functions(run(main())) == ["stall"]


@pytest.mark.parametrize("hooked_before", [False, True])
def test_what_blocks_before_and_after_does_not_count(run, hooked_before):
    async def main():
        stall()
        async with detect_blocking() as detected:
            await asyncio.sleep(0.01)
        stall()
        with detect_blocking() as also:
            pass
        stall()
        return detected, also

    if hooked_before:
        with detect_blocking(raise_on_block=False) as around:
            inner = run(main())
        assert functions(around) == ["stall", "stall"]  # the last two are in one callback
    else:
        inner = run(main())

    assert [detected.blocks for detected in inner] == [[], []]


def test_only_the_part_inside_counts_when_a_callback_has_been_running_since_before(run):
    async def main():
        stall(0.1)
        with detect_blocking(raise_on_block=False) as detected:
            stall(0.03)
        return detected

    (block,) = run(main()).blocks
    assert 0.03 <= block.duration_s < 0.08


def test_many_short_callbacks_are_no_block(run):
    def busy():
        compute(0.002)

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(20):
            loop.call_soon(busy)
        with detect_blocking(threshold_ms=30, raise_on_block=False) as detected:
            await asyncio.sleep(0.1)
        return detected

    assert [block for block in run(main()).blocks if excuse(block) is None] == []


def test_callback_of_a_loop_that_stops_at_once_is_not_stretched_to_its_next_run(loop_kind):
    from tests.conftest import LOOPS

    loop = LOOPS[loop_kind]()
    detected = detect_blocking(raise_on_block=False)

    async def enter_and_stop():
        detected.__enter__()
        asyncio.get_running_loop().stop()
        await asyncio.sleep(3600)

    task = loop.create_task(enter_and_stop())
    loop.run_forever()
    time.sleep(0.1)
    loop.run_until_complete(asyncio.sleep(0.01))
    detected.__exit__(None, None, None)
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()

    assert detected.blocks == []


# -- around a loop, and in threads ---------------------------------------------------------------------


def test_finds_blocks_of_a_loop_that_runs_inside(run):
    async def main():
        await asyncio.sleep(0)
        stall()

    with pytest.raises(EventLoopBlocked) as raised, detect_blocking():
        run(main())

    (block,) = raised.value.blocks
    assert block.culprit.line == STALL_LINE
    assert block.call == "time.sleep"
    assert block.cause == "wait"


def test_blocking_where_no_loop_runs_is_nobodys_business():
    with detect_blocking() as detected:
        stall()

    assert detected.blocks == []


def test_finds_blocks_of_a_loop_in_another_thread(run):
    async def main():
        await asyncio.sleep(0.01)
        stall()
        await asyncio.sleep(0.01)

    with detect_blocking(raise_on_block=False) as detected:
        thread = threading.Thread(target=run, args=(main(),), name="portal")
        thread.start()
        thread.join()

    assert functions(detected) == ["stall"]
    assert detected.blocks[0].thread_name == "portal"


def test_callback_that_still_runs_in_another_thread_is_charged_on_leaving(run):
    entered, left = threading.Event(), threading.Event()

    def hold():
        entered.set()
        stall(0.03)
        left.wait(10)

    async def main():
        await asyncio.sleep(0)
        hold()

    thread = threading.Thread(target=run, args=(main(),))
    with detect_blocking(raise_on_block=False) as detected:
        thread.start()
        assert entered.wait(10)
        time.sleep(0.05)
    left.set()
    thread.join()

    (block,) = detected.blocks
    assert block.culprit.function.endswith("hold") or block.culprit.function.endswith("stall")


def test_detection_that_has_ended_hides_no_block_of_its_thread_from_others(run):
    ended = Detection(0.01)
    ended.open()
    ended.end()
    watching = Detection(0.01)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(watching.open).result()

    async def main():
        await asyncio.sleep(0)
        stall()

    try:
        run(main())
    finally:
        watching.close()
        ended.close()

    assert [block.culprit.function.rpartition(".")[2] for block in watching.blocks] == ["stall"]
    assert ended.blocks == []


def test_threads_with_a_detection_of_their_own_keep_their_blocks_apart(run):
    found = {}

    def worker(function):
        async def main():
            await asyncio.sleep(0.01)
            function()

        with detect_blocking(raise_on_block=False) as detected:
            run(main())
        found[function] = functions(detected)

    with detect_blocking() as around:
        threads = [threading.Thread(target=worker, args=(function,)) for function in (stall, other_stall)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == {stall: ["stall"], other_stall: ["other_stall"]}
    assert around.blocks == []


# -- nested ------------------------------------------------------------------------------------------


def test_nested_detections_both_see_the_block_when_neither_raises(run):
    async def main():
        with detect_blocking(raise_on_block=False) as outer:
            async with detect_blocking(raise_on_block=False) as inner:
                await asyncio.sleep(0.01)
                stall()
        return outer, inner

    outer, inner = run(main())

    assert functions(inner) == ["stall"]
    assert functions(outer) == ["stall"]


@pytest.mark.parametrize("steps", [1, 2])
def test_what_an_inner_detection_raised_is_not_raised_again_by_the_outer_one(run, steps):
    async def main():
        with detect_blocking() as outer:
            with pytest.raises(EventLoopBlocked):
                async with detect_blocking():
                    stall()
                    for _ in range(steps - 1):
                        await asyncio.sleep(0.01)
                        stall()
            await asyncio.sleep(0.01)
        return outer

    assert run(main()).blocks == []


def test_outer_detection_keeps_what_lies_outside_the_inner_one_in_the_same_callback(run):
    async def main():
        with detect_blocking(raise_on_block=False) as outer:
            stall()
            with pytest.raises(EventLoopBlocked), detect_blocking():
                other_stall()
            compute()
        return outer

    assert functions(run(main())) == ["stall", "compute"]


# -- decorator ---------------------------------------------------------------------------------------


def test_decorated_coroutine_function_raises_and_stays_a_coroutine_function(run):
    @detect_blocking()
    async def handler(value):
        stall()
        return value

    assert inspect.iscoroutinefunction(handler)
    assert handler.__name__ == "handler"
    with pytest.raises(EventLoopBlocked):
        run(handler(1))


def test_decorated_functions_return_what_they_return(run):
    @detect_blocking()
    async def handler(value):
        await asyncio.sleep(0)
        return value

    @detect_blocking()
    def start(value):
        return run(handler(value))

    assert start(7) == 7
    assert start(8) == 8


def test_decorated_function_raises_for_the_loop_it_runs(run):
    @detect_blocking(threshold_ms=20)
    def start():
        async def main():
            stall()

        run(main())

    with pytest.raises(EventLoopBlocked):
        start()


def test_decorated_coroutine_function_may_run_several_times_at_once(run):
    @detect_blocking()
    async def handler(value):
        await asyncio.sleep(0.01)
        return value

    async def main():
        return await asyncio.gather(*(handler(n) for n in range(10)))

    assert run(main()) == list(range(10))


def test_generator_cannot_be_decorated():
    with pytest.raises(TypeError, match="generator"):

        @detect_blocking()
        def items():
            yield


# -- what it leaves alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError, KeyboardInterrupt])
def test_exception_of_the_body_is_never_replaced(run, error):
    found = []

    async def main():
        try:
            async with detect_blocking() as detected:
                await asyncio.sleep(0)
                stall()
                raise error("mine")
        except error as raised:
            found.append((raised, detected))

    run(main())

    ((raised, detected),) = found
    assert raised.args == ("mine",)
    assert raised.__context__ is None
    assert functions(detected) == ["stall"]


@pytest.mark.parametrize("pattern", ["*.stall", "time.sleep", "time.*", "tests.testing.test_detect.*main"])
def test_ignored_function_call_or_caller_is_left_out(run, pattern):
    async def main():
        await asyncio.sleep(0)
        stall()

    with detect_blocking(ignore=[pattern]) as detected:
        run(main())

    assert detected.blocks == []


def test_pattern_that_matches_nothing_leaves_nothing_out(run):
    async def main():
        await asyncio.sleep(0)
        stall()

    with pytest.raises(EventLoopBlocked), detect_blocking(ignore=["stall", "sqlite3.*"]):
        run(main())


def test_works_beside_the_instrumentation_and_leaves_it_in_place(telemetry, run):
    telemetry.instrument()

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            async with detect_blocking(raise_on_block=False, threshold_ms=20) as detected:
                await asyncio.sleep(0)
                stall()
            stall()
            await asyncio.sleep(0)
            stall()
        return detected

    assert functions(run(main())) == ["stall"]
    assert len(telemetry.events()) == 2
    from otel_loopblock import LoopBlockInstrumentor

    LoopBlockInstrumentor().uninstrument()


def test_lower_threshold_than_the_instrumentation_has_holds_for_the_detection_alone(telemetry, run):
    telemetry.instrument(threshold_ms=1000)

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            async with detect_blocking(raise_on_block=False) as detected:
                await asyncio.sleep(0)
                stall()
        return detected

    assert functions(run(main())) == ["stall"]
    assert telemetry.events() == []
    from otel_loopblock import LoopBlockInstrumentor

    LoopBlockInstrumentor().uninstrument()


def test_needs_no_opentelemetry_sdk():
    code = """
import sys
sys.modules["opentelemetry.sdk"] = None
import asyncio, time
from otel_loopblock.testing import EventLoopBlocked, detect_blocking
async def main():
    time.sleep(0.05)
try:
    with detect_blocking():
        asyncio.run(main())
except EventLoopBlocked as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert "time.sleep" in done.stdout


# -- words ---------------------------------------------------------------------------------------------


def test_text_lists_every_block_with_culprit_line_call_cause_advice_and_stack(run):
    async def main():
        async with detect_blocking():
            await asyncio.sleep(0)
            stall()
            await asyncio.sleep(0)
            compute(2 * BLOCK_S)

    with pytest.raises(EventLoopBlocked) as raised:
        run(main())

    text = str(raised.value)
    blocks = [line for line in text.splitlines() if "blocked the event loop" in line]
    assert len(blocks) == len(raised.value.blocks) == 2
    longest, waited = blocks
    assert text.startswith(longest)
    assert "compute" in longest
    assert waited.partition(" ")[0].endswith(f"test_detect.py:{STALL_LINE}:")
    assert " in time.sleep (wait). Use await asyncio.sleep(...)." in waited
    assert f'test_detect.py", line {STALL_LINE}, in stall' in text
    assert "in main" in text
    assert "[in time.sleep]" in text
    assert "otel_loopblock" not in text
    assert "_pytest" not in text


def test_exception_survives_a_pickle_with_its_text():
    error = EventLoopBlocked.of([])
    error = EventLoopBlocked("app.py:1: load blocked")

    copy = pickle.loads(pickle.dumps(error))

    assert isinstance(copy, EventLoopBlocked)
    assert isinstance(copy, AssertionError)
    assert str(copy) == "app.py:1: load blocked"


SEEN = ((stall.__code__, 0, stall.__code__.co_firstlineno, __name__),)
UNTOLD = {"event_loop.block.cpu_time": 0.005, "event_loop.block.share.unknown": 0.7}
QUEUED = {"event_loop.block.share.descheduled": 0.9, "event_loop.block.run_queue_delay": 0.012}


@pytest.fixture
def block(run):
    async def main():
        await asyncio.sleep(0)
        stall()

    with detect_blocking(raise_on_block=False) as detected:
        run(main())
    return detected.blocks[0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"cause": "unknown", "evidence": {}}, None),
        ({"cause": "unknown", "evidence": {"event_loop.block.cpu_time": 0.001}}, "unknown"),
        ({"cause": "unknown", "duration_s": 0.03, "evidence": {"event_loop.block.cpu_time": 0.012}}, None),
        ({"duration_s": 0.02, "evidence": UNTOLD}, "unknown"),
        ({"cause": "descheduled", "evidence": {}, "call_kind": "sleep"}, None),
        ({"duration_s": 0.02, "evidence": QUEUED, "call_kind": "sleep"}, "descheduled"),
        ({"duration_s": 0.03, "evidence": QUEUED, "call_kind": "sleep"}, None),
        ({"cause": "descheduled", "evidence": {}}, "descheduled"),
        ({"duration_s": 0.03, "evidence": {"event_loop.block.share.descheduled": 0.5}}, None),
        ({"duration_s": 0.015, "evidence": {"event_loop.block.share.descheduled": 0.6}}, "descheduled"),
        ({"duration_s": 0.012, "evidence": {"event_loop.block.share.descheduled": 0.3}}, None),
        ({"duration_s": 0.03, "evidence": {"event_loop.block.gc_time": 0.025}}, "gc"),
        ({"duration_s": 0.03, "evidence": {"event_loop.block.gc_time": 0.015}}, None),
        ({"evidence": {"event_loop.block.gc_time": BLOCK_S}, "call": "gc.collect"}, None),
        (
            {
                "duration_s": 0.02,
                "evidence": {
                    "event_loop.block.gc_time": 0.006,
                    "event_loop.block.share.descheduled": 0.35,
                },
            },
            "descheduled",
        ),
    ],
)
def test_time_of_the_collector_and_of_a_busy_machine_does_not_count(block, change, expected):
    known = {"call": "sum", "call_kind": None, "cause": "cpu", "evidence": {}, "stack": SEEN}

    assert excuse(replace(block, **{**known, **change})) == expected


def test_wait_for_a_new_thread_to_be_scheduled_does_not_count(block):
    starting = (threading.Thread.start.__code__, 0, 1, "threading")

    waited = replace(block, stack=(*SEEN, starting), cause="wait", evidence={})

    assert excuse(waited) == "descheduled"
    assert excuse(replace(waited, cause="cpu")) is None


@pytest.mark.parametrize(
    ("file", "expected"), [(asyncio.tasks.__file__, "unseen"), (__file__, None), ("", None)]
)
def test_block_of_which_nothing_of_the_application_was_seen_does_not_count(block, file, expected):
    unseen = replace(block, stack=(), cause="unknown", evidence={}, culprit=Frame("a.b", file, 1))

    assert excuse(unseen) == expected


@pytest.mark.parametrize(("collecting_s", "noticed"), [(0.045, []), (0.02, [None])])
def test_callback_that_runs_is_not_noticed_for_the_garbage_collector(run, collecting_s, noticed):
    seen = []

    async def main():
        await asyncio.sleep(0)
        monitor = loops.of(asyncio.get_running_loop())
        now = time.perf_counter()
        detection.entered = now - 1.0
        monitor.garbage_collected(now - collecting_s, now)
        detection.callback_running(monitor, now - 0.05, now)

    detection = Detection(0.01, notice=seen.append, collected=lambda seconds: None)
    detection.open()
    run(main())
    detection.close()

    assert seen == noticed


@pytest.mark.parametrize("excused", [True, False])
def test_callback_that_consists_of_the_garbage_collector_is_told_instead_of_kept(run, excused):
    told = []

    async def main():
        await asyncio.sleep(0)
        monitor = loops.of(asyncio.get_running_loop())
        began = time.perf_counter()
        stall()
        monitor.garbage_collected(began, time.perf_counter() if excused else began + 0.01)
        await asyncio.sleep(0)

    detection = Detection(0.02, collected=told.append)
    detection.open()
    run(main())
    detection.close()

    assert [seconds >= BLOCK_S for seconds in told] == [True] * excused
    assert functions(detection) == ["stall"] * (not excused)


def test_block_that_does_not_count_is_listed_last_and_says_so(block):
    excused = replace(block, call="sum", call_kind=None, cause="descheduled", evidence={}, duration_s=3.0)

    text = describe([excused, block])

    assert text.startswith(headline(block))
    assert f"{headline(excused)} [descheduled: not counted]" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"threshold_ms": "abc"}, "threshold_ms='abc' cannot be used; it must be a finite number above 0"),
        ({"threshold_ms": 0}, "threshold_ms=0 cannot be used"),
        ({"ignore": [1]}, "ignore="),
        ({"own_lines": "no"}, "own_lines='no' cannot be used; it must be one of fail, warn, ignore"),
    ],
)
def test_bad_argument_is_named(arguments, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        detect_blocking(**arguments)


def test_one_that_is_open_cannot_be_opened_again():
    with detect_blocking() as detected, pytest.raises(RuntimeError, match="open already"):
        detected.__enter__()


def test_one_that_is_closed_can_be_used_again_and_begins_anew(run):
    async def main():
        stall()

    detected = detect_blocking(raise_on_block=False)
    with detected:
        run(main())
    first = functions(detected)
    with detected:
        pass

    assert first == ["stall"]
    assert detected.blocks == []


@pytest.mark.parametrize("style", ["sync", "async"])
def test_trio_is_refused_plainly(style):
    async def main():
        if style == "async":
            async with detect_blocking():
                pass
        else:
            with detect_blocking():
                pass

    with pytest.raises(RuntimeError, match="trio is not covered"):
        trio.run(main)


def test_keeps_no_loop_alive(run):
    import weakref

    refs = []

    async def main():
        refs.append(weakref.ref(asyncio.get_running_loop()))
        stall()

    with detect_blocking(raise_on_block=False) as detected:
        run(main())
    gc.collect()

    assert detected.blocks
    assert refs[0]() is None
