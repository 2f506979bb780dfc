"""Blocks on both loops, in this process: which span, which culprit, and nothing else changed."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
import threading
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_loopblock import LoopBlockInstrumentor
from otel_loopblock.testing import detect_blocking
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import listeners

BLOCK_S = 0.05
KEYS_IN_ORDER = [
    "event_loop.block.duration",
    "event_loop.block.cause",
    "code.function.name",
    "event_loop.block.call",
    "code.file.path",
    "code.line.number",
    "event_loop.block.advice",
    "event_loop.block.threshold",
    "event_loop.type",
    "asyncio.task.name",
    "thread.id",
    "thread.name",
    "event_loop.block.samples",
]


def stall(seconds=BLOCK_S):
    time.sleep(seconds)


def test_event_has_the_fixed_names_types_and_order(telemetry, run, loop_kind):
    telemetry.instrument()

    async def main():
        asyncio.current_task().set_name("worker")
        with telemetry.tracer.start_as_current_span("GET /x"):
            await asyncio.sleep(0)
            stall()

    run(main())

    ((name, event),) = telemetry.events()
    attributes = dict(event.attributes)
    assert name == "GET /x"
    shown = [key for key in attributes if key in KEYS_IN_ORDER]
    assert shown == [key for key in KEYS_IN_ORDER if key in shown]
    assert list(attributes)[-1] == "code.stacktrace"
    assert attributes["event_loop.block.duration"] == pytest.approx(BLOCK_S, abs=0.04)
    assert isinstance(attributes["event_loop.block.duration"], float)
    assert attributes["code.function.name"] == f"{__name__}.stall"
    assert attributes["event_loop.block.call"] == "time.sleep"
    assert attributes["code.file.path"] == __file__
    assert attributes["code.line.number"] == stall.__code__.co_firstlineno + 1
    assert attributes["event_loop.block.threshold"] == 0.01
    assert attributes["event_loop.type"] == loop_kind
    assert attributes["asyncio.task.name"] == "worker"
    assert attributes["thread.id"] == threading.get_ident()
    assert attributes["thread.name"] == threading.current_thread().name
    assert isinstance(attributes["event_loop.block.samples"], int)
    assert attributes["event_loop.block.samples"] >= 1
    assert "in main\n" in attributes["code.stacktrace"]
    assert attributes["code.stacktrace"].index("in main") < attributes["code.stacktrace"].index("in stall")
    assert "otel_loopblock/hooks" not in attributes["code.stacktrace"]


def test_event_is_stamped_with_the_start_of_the_block(telemetry, run):
    telemetry.instrument()

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            await asyncio.sleep(0.05)
            stall()

    run(main())

    (span,) = telemetry.spans("GET /x")
    (event,) = span.events
    assert event.timestamp - span.start_time == pytest.approx(0.05e9, abs=0.04e9)
    assert (
        event.timestamp + int(event.attributes["event_loop.block.duration"] * 1e9)
        <= span.end_time + 1_000_000
    )


def test_block_without_a_span_gets_one_of_its_own_with_true_times(telemetry, run):
    telemetry.instrument()

    async def main():
        await asyncio.sleep(0)
        stall()

    before = time.time_ns()
    run(main())

    (span,) = telemetry.spans()
    assert span.name == "event_loop.blocked"
    assert span.parent is None
    assert (span.end_time - span.start_time) / 1e9 == pytest.approx(
        span.attributes["event_loop.block.duration"], abs=1e-6
    )
    assert before <= span.start_time
    assert span.end_time <= time.time_ns()
    assert span.attributes["code.function.name"] == f"{__name__}.stall"


def test_what_a_callback_blocks_after_a_span_has_taken_its_part_is_reported_too(telemetry, run):
    telemetry.instrument(threshold_ms=20)

    async def main():
        await asyncio.sleep(0)
        with telemetry.tracer.start_as_current_span("GET /x"):
            stall()
        stall()

    run(main())

    assert [name for name, _ in telemetry.events()] == ["GET /x"]
    assert len(telemetry.spans("event_loop.blocked")) == 1


def test_own_span_has_a_link_to_an_active_span_that_has_ended(telemetry, run):
    telemetry.instrument()

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x") as span:
            span.end()
            await asyncio.sleep(0)
            stall()

    run(main())

    (own,) = telemetry.spans("event_loop.blocked")
    (request,) = telemetry.spans("GET /x")
    assert own.parent is None  # as a child it would lie outside of its parent
    assert [link.context for link in own.links] == [request.context]
    assert not request.events


def test_block_before_the_current_span_began_is_not_a_child_of_it(telemetry, run):
    telemetry.instrument()
    tracer = telemetry.tracer

    async def main():
        with tracer.start_as_current_span("outer", end_on_exit=False) as outer:
            outer.end()
            await asyncio.sleep(0)
            stall()
            with tracer.start_as_current_span("late"):
                await asyncio.sleep(0)

    run(main())

    (own,) = telemetry.spans("event_loop.blocked")
    (outer,) = telemetry.spans("outer")
    assert [link.context for link in own.links] == [outer.context]


def test_unsampled_request_gets_nothing(telemetry, run):
    telemetry.instrument()
    unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("off")

    async def main():
        with unsampled.start_as_current_span("GET /x"):
            await asyncio.sleep(0)
            stall()
            await asyncio.sleep(0)

    run(main())

    assert telemetry.spans() == []
    assert sum(point.count for point in telemetry.points("event_loop.block.duration")) == 1


@pytest.mark.parametrize(
    ("report", "events", "spans"), [("event", 1, 0), ("span", 0, 1), ("all", 1, 1), ("log", 0, 0)]
)
def test_report_chooses_the_form(telemetry, run, report, events, spans):
    telemetry.instrument(report=report)

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            await asyncio.sleep(0)
            stall()

    run(main())

    assert len(telemetry.events()) == events
    assert len(telemetry.spans("event_loop.blocked")) == spans


def test_every_block_is_in_the_histogram_although_events_are_limited(telemetry, run):
    telemetry.instrument(max_events_per_second=2)

    async def main():
        for _ in range(6):
            with telemetry.tracer.start_as_current_span("GET /x"):
                await asyncio.sleep(0)
                stall(0.012)

    run(main())

    assert len(telemetry.events()) < 6
    # One point per cause: on a busy machine not every block of 12 ms is seen to be a wait.
    assert sum(point.count for point in telemetry.points("event_loop.block.duration")) == 6
    (suppressed,) = telemetry.points("event_loop.block.suppressed")
    assert suppressed.value == 6 - len(telemetry.events())


def test_events_on_one_span_are_capped(telemetry, run):
    telemetry.instrument(max_events_per_span=3)

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x") as span:
            span.add_event("mine")
            for _ in range(5):
                await asyncio.sleep(0)
                stall(0.012)
            await asyncio.sleep(0)

    run(main())

    (span,) = telemetry.spans("GET /x")
    assert [event.name for event in span.events].count("event_loop.blocked") == 3
    assert span.events[0].name == "mine"


def test_ignored_functions_are_metrics_only(telemetry, run, caplog):
    telemetry.instrument(ignore=f"{__name__}.st*")

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            await asyncio.sleep(0)
            stall()

    run(main())

    assert telemetry.events() == []
    assert telemetry.spans("event_loop.blocked") == []
    assert not [r for r in caplog.records if r.name == "otel_loopblock"]
    (point,) = telemetry.points("event_loop.block.duration")
    assert point.count == 1


def test_log_names_request_place_and_call_once_per_culprit(telemetry, run, caplog):
    telemetry.instrument(log_interval_ms=60_000)

    async def main():
        for _ in range(3):
            with telemetry.tracer.start_as_current_span("GET /predict"):
                await asyncio.sleep(0)
                stall()

    with caplog.at_level(logging.WARNING, "otel_loopblock"):
        run(main())
        telemetry.spans()

    (record,) = [r for r in caplog.records if r.name == "otel_loopblock"]
    line = stall.__code__.co_firstlineno + 1
    assert f" in GET /predict: test_blocks.py:{line} stall → time.sleep" in record.getMessage()
    assert record.getMessage().startswith("event loop blocked ")


def test_metrics_have_bounded_functions(telemetry, run):
    telemetry.instrument(max_functions=2)
    functions = []
    for number in range(4):
        namespace = {"time": time, "__name__": "generated"}
        exec(compile(f"def f{number}():\n    time.sleep(0.03)\n", "/srv/app/generated.py", "exec"), namespace)
        functions.append(namespace[f"f{number}"])

    async def main():
        for function in functions:
            await asyncio.sleep(0)
            function()

    run(main())

    names = {
        point.attributes["code.function.name"] for point in telemetry.points("event_loop.block.duration")
    }
    # What a sample of the busy loop names, as like as not this test's own, is one of the two as well.
    assert "other" in names
    assert 1 <= len(names & {f"generated.f{number}" for number in range(4)}) <= 2
    assert len(names) <= 3


def test_many_short_callbacks_are_lag_and_not_a_block(telemetry, run):
    telemetry.instrument(heartbeat_interval_ms=50, threshold_ms=500)

    async def main():
        await asyncio.sleep(0.06)
        loop = asyncio.get_running_loop()
        for _ in range(200):
            loop.call_soon(time.sleep, 0.001)
        await asyncio.sleep(0.4)

    run(main())

    assert {span.name for span in telemetry.spans()} <= {"event_loop.saturated"}
    assert telemetry.points("event_loop.block.duration") == []
    (lag,) = telemetry.points("event_loop.lag")
    assert lag.count >= 2
    assert lag.max > 0.05


def test_idle_loop_reports_nothing(telemetry, run):
    telemetry.instrument(heartbeat_interval_ms=20, threshold_ms=200)

    async def main():
        await asyncio.sleep(0.5)

    run(main())

    assert telemetry.spans() == []
    assert telemetry.points("event_loop.block.duration") == []
    (lag,) = telemetry.points("event_loop.lag")
    assert lag.count >= 5


@pytest.mark.parametrize("schedule", ["call_soon", "call_soon_threadsafe", "call_later", "call_at", "signal"])
def test_block_in_a_plain_callback_is_seen(telemetry, run, schedule):
    import signal as signals

    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def fire():
            stall()
            done.set_result(None)

        await asyncio.sleep(0)
        if schedule == "call_later":
            loop.call_later(0.01, fire)
        elif schedule == "call_at":
            loop.call_at(loop.time() + 0.01, fire)
        elif schedule == "signal":
            loop.add_signal_handler(signals.SIGUSR1, fire)
            signals.raise_signal(signals.SIGUSR1)
        else:
            getattr(loop, schedule)(fire)
        await done

    run(main())

    (span,) = telemetry.spans()
    assert span.attributes["code.function.name"] == f"{__name__}.stall"


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_block_in_a_reader_or_writer_callback_is_seen(telemetry, run, direction):
    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        done = loop.create_future()

        def ready():
            stall()
            getattr(loop, f"remove_{direction}")(ours)
            done.set_result(None)

        getattr(loop, f"add_{direction}")(ours, ready)
        theirs.send(b"x")
        await done
        ours.close()
        theirs.close()

    run(main())

    (span,) = telemetry.spans()
    assert span.attributes["code.function.name"] == f"{__name__}.stall"


def test_application_exceptions_contexts_and_results_pass_unchanged(telemetry, run):
    telemetry.instrument()
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    async def main():
        loop = asyncio.get_running_loop()
        handled = []
        loop.set_exception_handler(lambda loop, context: handled.append(context["exception"]))
        context = contextvars.Context()
        context.run(variable.set, 7)
        loop.call_soon(lambda: seen.append(variable.get()), context=context)
        error = RuntimeError("mine")

        def fail():
            stall(0.02)
            raise error

        loop.call_soon(fail)
        await asyncio.sleep(0.05)
        assert handled == [error]

        task = asyncio.ensure_future(asyncio.sleep(10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return "result"

    assert run(main()) == "result"
    assert seen == [7]
    assert sum(point.count for point in telemetry.points("event_loop.block.duration")) >= 1


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exit_and_interrupt_leave_the_loop(telemetry, run, error):
    telemetry.instrument()

    async def main():
        await asyncio.sleep(0)
        stall(0.02)
        raise error("out")

    with pytest.raises(error):
        run(main())

    assert listeners.now


def test_callback_that_raises_after_blocking_is_reported(telemetry, run):
    telemetry.instrument()

    async def main():
        await asyncio.sleep(0)
        stall()
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run(main())

    (span,) = telemetry.spans()
    assert span.attributes["code.function.name"] == f"{__name__}.stall"


def test_loops_in_threads_have_monitors_of_their_own(telemetry, loop_kind):
    from tests.conftest import LOOPS

    telemetry.instrument()

    async def main(name):
        with telemetry.tracer.start_as_current_span(name):
            await asyncio.sleep(0.01)
            stall()

    def work(name):
        loop = LOOPS[loop_kind]()
        loop.run_until_complete(main(name))
        loop.close()

    threads = [threading.Thread(target=work, args=(f"loop {n}",), name=f"thread {n}") for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    events = telemetry.events()
    assert sorted(name for name, _ in events) == ["loop 0", "loop 1", "loop 2"]
    assert all(event.attributes["thread.name"] == name.replace("loop", "thread") for name, event in events)
    assert loops.monitors() == []


def test_span_that_ends_on_another_thread_is_left_alone(telemetry, run):
    telemetry.instrument()

    async def main():
        span = telemetry.tracer.start_span("elsewhere")
        await asyncio.sleep(0)
        thread = threading.Timer(0.03, span.end)
        thread.start()
        stall(0.06)
        thread.join()

    run(main())

    (span,) = telemetry.spans("elsewhere")
    assert not span.events
    assert len(telemetry.spans("event_loop.blocked")) == 1


def test_error_of_ours_never_reaches_the_application(telemetry, run, monkeypatch, caplog):
    from otel_loopblock import guard
    from otel_loopblock.emit import emitter

    telemetry.instrument()

    def fail(*args, **kwargs):
        raise RuntimeError("ours")

    monkeypatch.setattr(emitter.Emitter, "_observed", fail)

    async def main():
        for _ in range(2):
            with telemetry.tracer.start_as_current_span("GET /x"):
                await asyncio.sleep(0)
                stall(0.02)
        return "unharmed"

    assert run(main()) == "unharmed"
    assert guard.failures["charge a block to a span"] == 2
    logged = [r for r in caplog.records if "charge a block" in r.getMessage()]
    assert len(logged) == 1
    guard.failures.clear()


def test_without_a_watchdog_durations_are_known_and_no_thread_runs(telemetry, run):
    telemetry.instrument(watchdog=False)

    async def main():
        assert "otel-loopblock-watchdog" not in [t.name for t in threading.enumerate()]
        with telemetry.tracer.start_as_current_span("GET /x"):
            await asyncio.sleep(0)
            stall()

    run(main())

    ((_, event),) = telemetry.events()
    assert event.attributes["event_loop.block.samples"] == 0
    assert event.attributes["event_loop.block.cause"] == "unknown"
    assert "code.stacktrace" not in event.attributes


def test_instrumenting_twice_is_quiet_and_options_replace_the_former(telemetry, run, caplog):
    telemetry.instrument(threshold_ms=10)
    LoopBlockInstrumentor().instrument()
    LoopBlockInstrumentor().instrument(skip_dep_check=True)
    assert not caplog.records
    telemetry.instrument(threshold_ms=1000)

    async def main():
        with telemetry.tracer.start_as_current_span("GET /x"):
            await asyncio.sleep(0)
            stall()

    run(main())

    assert telemetry.events() == []


def test_instrumenting_inside_a_running_loop_covers_it_from_then_on(telemetry, run):
    async def main():
        await asyncio.sleep(0)
        telemetry.instrument()
        await asyncio.sleep(0.01)
        with telemetry.tracer.start_as_current_span("GET /x"):
            await asyncio.sleep(0.01)
            stall()

    run(main())

    ((name, event),) = telemetry.events()
    assert name == "GET /x"
    assert event.attributes["event_loop.block.call"] == "time.sleep"


def test_our_own_hooks_are_nobodys_culprit(telemetry, run):
    telemetry.instrument()

    async def main():
        loop = asyncio.get_running_loop()
        ended = time.perf_counter() + 0.3
        while time.perf_counter() < ended:  # most of the time is spent below our call_soon on uvloop
            for _ in range(100):
                loop.call_soon(int)

    run(main())

    spans = telemetry.spans()
    assert any(span.attributes["code.function.name"].endswith("main") for span in spans)
    for span in spans:
        assert "otel_loopblock" not in span.attributes["code.function.name"]
        assert "otel_loopblock/hooks" not in span.attributes.get("code.stacktrace", "")
        assert "original" not in span.attributes.get("event_loop.block.call", "")


def test_lag_is_measured_on_a_loop_that_somebody_else_had_monitored_before(telemetry, run):
    with detect_blocking(raise_on_block=False):

        async def main():
            await asyncio.sleep(0.01)  # the loop has its monitor, and nobody wants its lag
            threading.Thread(target=telemetry.instrument, kwargs={"heartbeat_interval_ms": 10}).start()
            for _ in range(200):
                await asyncio.sleep(0.02)
                if telemetry.points("event_loop.lag"):
                    return

        run(main())
        (lag,) = telemetry.points("event_loop.lag")
        LoopBlockInstrumentor().uninstrument()

    assert lag.count >= 1


def test_one_listener_leaves_nothing_behind_on_a_loop_that_another_goes_on_watching(telemetry, run):
    telemetry.instrument()

    async def main():
        monitor = loops.of(asyncio.get_running_loop())
        with detect_blocking(threshold_ms=1000):
            await asyncio.sleep(0)
            LoopBlockInstrumentor().uninstrument()
            await asyncio.sleep(0)
            stall()
            telemetry.instrument()
            await asyncio.sleep(0)
            stall()
            LoopBlockInstrumentor().uninstrument()
            return len(monitor.state)

    assert run(main()) == 0
