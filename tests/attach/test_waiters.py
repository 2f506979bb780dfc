"""Who waited is named, each once, and not without end."""

from __future__ import annotations

import asyncio
from contextvars import Context

from otel_loopblock.attach.waiters import MAX_LOOKS, MAX_NAMES, OTHER, Waiters


async def pay():
    await asyncio.sleep(0)


async def stock():
    await asyncio.sleep(0)


def told(waiting, request=None, culprit=None):
    said = []
    waiters = Waiters(request, culprit, None, said.append)
    waiters.waited(iter(waiting))
    waiters.ended()
    return dict(said[0])


def test_tasks_are_named_by_their_coroutines_once_each(run):
    async def main():
        tasks = [asyncio.ensure_future(each) for each in (pay(), pay(), stock())]
        here = asyncio.current_task()
        waiting = [(Context(), task, None) for task in (*tasks, tasks[0], here)]
        return told(waiting, culprit=here)

    assert run(main()) == {"pay": 2, "stock": 1}


def test_requests_go_before_tasks_and_the_culprits_own_is_none(run):
    async def main():
        task = asyncio.ensure_future(pay())
        contexts = [Context() for _ in range(4)]
        names = {id(context): (number, f"GET /{number}") for number, context in enumerate(contexts[:3])}
        names[id(None)] = names[id(contexts[0])]
        waiting = [(context, None, None) for context in (*contexts, contexts[1])]
        return told([*waiting, (contexts[3], task, None)], lambda context: names.get(id(context)))

    assert run(main()) == {"GET /1": 1, "GET /2": 1, OTHER: 1, "pay": 1}


def test_names_and_looks_are_bounded():
    contexts = [Context() for _ in range(MAX_LOOKS + 50)]
    names = {id(context): (number, f"GET /{number}") for number, context in enumerate(contexts)}
    said = told([(context, None, None) for context in contexts], lambda context: names.get(id(context)))
    assert len(said) == MAX_NAMES + 1
    assert sum(said.values()) == MAX_LOOKS
