"""Who awaited the task that blocked: on the child span, bounded, from Python 3.14 on."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from otel_loopblock.explain.awaited import MAX_WORDS, words
from otel_loopblock.watch.awaiting import MAX_AWAITERS, Awaiter, awaiters

KNOWS = sys.version_info >= (3, 14)
from_3_14 = pytest.mark.skipif(not KNOWS, reason="asyncio knows from Python 3.14 on")

AWAITED_BY = "event_loop.block.awaited_by"
FILE = "test_awaited.py"


def line_of(function, offset):
    return function.__code__.co_firstlineno + offset


async def charge(telemetry):
    with telemetry.tracer.start_as_current_span("GET /pay"):
        await asyncio.sleep(0)
        time.sleep(0.05)


async def pay(telemetry):
    # A group, which Python 3.10 has not, has its own way to tell asyncio.
    async with asyncio.TaskGroup() as group:
        group.create_task(charge(telemetry))


async def checkout(telemetry):
    await total(telemetry)


async def total(telemetry):
    await asyncio.gather(pay(telemetry), asyncio.sleep(0))


def reports(telemetry):
    """The short event and the child span of the one block."""
    (span,) = telemetry.spans("GET /pay")
    (event,) = [event for event in span.events if event.name == "event_loop.blocked"]
    (child,) = telemetry.spans("event_loop.blocked")
    return event, child


@from_3_14
def test_child_span_says_who_awaited_across_tasks_and_the_event_does_not(telemetry, run):
    telemetry.instrument(report="event,span", threshold_ms=30)

    async def main():
        await asyncio.create_task(checkout(telemetry), name="basket 7")

    run(main())

    event, child = reports(telemetry)
    assert child.attributes[AWAITED_BY] == (
        f"pay: {__name__}.pay ({FILE}:{line_of(pay, 2)})",
        f"basket 7: {__name__}.total ({FILE}:{line_of(total, 1)})",
        f"{main.__qualname__}: {__name__}.{main.__qualname__} ({FILE}:{line_of(main, 1)})",
    )
    assert AWAITED_BY not in event.attributes


@from_3_14
def test_block_that_no_span_has_taken_says_it_too(telemetry, run):
    telemetry.instrument(report="span", threshold_ms=30)

    async def leaf():
        time.sleep(0.05)

    async def main():
        await asyncio.gather(leaf())

    run(main())

    (child,) = telemetry.spans("event_loop.blocked")
    (said,) = child.attributes[AWAITED_BY]
    assert said.endswith(f".main ({FILE}:{line_of(main, 1)})")


def test_task_that_nobody_awaits_says_nothing(telemetry, run):
    telemetry.instrument(report="event,span", threshold_ms=30)

    run(charge(telemetry))

    _, child = reports(telemetry)
    assert AWAITED_BY not in child.attributes


@from_3_14
def test_thousands_who_await_one_task_are_bounded(run):
    found = []

    async def shared():
        await asyncio.sleep(0.01)
        found.extend(awaiters(asyncio.current_task()))

    async def user(task):
        await task

    async def main():
        task = asyncio.ensure_future(shared())
        await asyncio.gather(*(user(task) for _ in range(2000)))

    run(main())
    assert len(found) == MAX_AWAITERS
    assert {each.coroutine.rpartition(".")[2] for each in found} == {"user"}


@from_3_14
def test_long_chain_is_bounded_and_the_nearest_are_kept(run):
    found = []

    async def link(depth):
        if depth:
            await asyncio.create_task(link(depth - 1), name=f"depth {depth - 1}")
        else:
            await asyncio.sleep(0)
            found.extend(awaiters(asyncio.current_task()))

    run(link(40))
    assert [each.task_name for each in found] == [f"depth {depth}" for depth in range(1, MAX_AWAITERS + 1)]


@from_3_14
def test_tasks_that_await_each_other_in_a_circle_end(run):
    async def main():
        here = asyncio.current_task()
        other = asyncio.ensure_future(asyncio.sleep(0.01))
        asyncio.future_add_to_awaited_by(here, other)
        asyncio.future_add_to_awaited_by(other, here)
        try:
            return awaiters(here)
        finally:
            asyncio.future_discard_from_awaited_by(here, other)
            asyncio.future_discard_from_awaited_by(other, here)
            await other

    (found,) = run(main())
    assert found.coroutine == "sleep"


@pytest.mark.skipif(KNOWS, reason="before Python 3.14 asyncio does not know")
def test_older_python_says_nothing(run):
    async def main():
        async def look():
            return awaiters(asyncio.current_task())

        return await asyncio.create_task(look())

    assert run(main()) == ()


def frame(code, module):
    return code, 0, code.co_firstlineno, module


def is_own(code, module):
    return module == "shop"


def test_words_prefer_the_name_that_the_application_gave_and_its_own_line():
    code = line_of.__code__
    frames = (frame(code, "asyncio.taskgroups"), frame(code, "shop"))
    place = f"shop.line_of ({FILE}:{code.co_firstlineno})"
    assert words([Awaiter("Task-12", "checkout", frames)], is_own) == (f"checkout: {place}",)
    assert words([Awaiter("basket", "checkout", frames)], is_own) == (f"basket: {place}",)
    library = f"basket: asyncio.taskgroups.line_of ({FILE}:{code.co_firstlineno})"
    assert words([Awaiter("basket", "checkout", frames[:1])], is_own) == (library,)
    assert words([Awaiter("Task-12", "checkout", ())], is_own) == ("checkout",)


def test_words_are_bounded_and_fit_to_be_shown():
    frames = (frame(line_of.__code__, "shop"),)
    (said,) = words([Awaiter("x\n" * 5000, "checkout", frames)], is_own)
    assert len(said) <= MAX_WORDS
    assert said.isprintable()
    assert said.endswith(f"({FILE}:{line_of.__code__.co_firstlineno})")
