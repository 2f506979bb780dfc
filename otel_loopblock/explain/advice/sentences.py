"""From a cause and a call to one sentence. Pure: the entry of the call comes in, the words go out.

What must never happen is advice that contradicts the cause: a thread for code that holds the GIL.
"""

from __future__ import annotations

from collections.abc import Sequence

from otel_loopblock.explain.advice.known import ALWAYS, COMPUTING, WAITING, KnownCall
from otel_loopblock.explain.cause import Cause

MAX_CHARS = 120
"""No sentence of ours is longer: it is shown in a list of attributes and in one line of a log."""

_MAX_NAME_CHARS = 48
"""Of one name, where there is room for more."""

_OF_THE_LOOP = ("asyncio.", "uvloop.")
"""What begins so has to run on the loop: no thread and no process can do it."""

_BUSY = ("cpu", "gil_held")

_GC = "Call gc.collect() and gc.freeze() after start-up, raise gc.set_threshold(), or create fewer objects."
_DESCHEDULED = (
    "Not the code: the process did not get the CPU. Raise its CPU limit or request, or move its neighbours."
)
_PYTHON = (
    "Do less work here, or move it to a process pool; a thread would not help: Python code shares the GIL."
)
_HELD_BY_SOMETHING = (
    "Do less at once, or move it to a process pool; a thread would not help: C code held the GIL."
)
_RELEASED_BY_SOMETHING = "Run it in a thread: await asyncio.to_thread(...) (FastAPI: run_in_threadpool)."
_WAIT_FOR_SOMETHING = (
    "Wait in a thread: await asyncio.to_thread(...) (FastAPI: run_in_threadpool), or use an async client."
)


def sentence_for(
    cause: Cause,
    call: str | None,
    entry: KnownCall | None,
    releases_gil: bool | None,
    contenders: Sequence[str],
    inner: str | None = None,
) -> str | None:
    """What to do about one block.

    Args:
        cause: why it blocked.
        call: the library call that it was in, if one was seen.
        entry: what is known of that call.
        releases_gil: what the clocks said of the GIL in this block; wins over what the entry says.
        contenders: names of the threads that took the GIL.
        inner: what the call was in, deeper down.

    Returns:
        One sentence, or ``None`` where there is none worth giving.
    """
    if cause == "gc":
        return _GC
    if cause == "descheduled":
        return _DESCHEDULED
    if cause == "gil_contention":
        return _contention(contenders)
    if entry is not None and entry.kind in ALWAYS:
        return entry.instead
    if entry is None and call is not None and call.startswith(_OF_THE_LOOP):
        return _with("{} is the loop's own: ask it for less at once.", call) if cause in _BUSY else None
    if cause == "wait":
        return _wait(call, entry, inner)
    if cause == "gil_held":
        return _held(call, entry)
    if cause == "cpu":
        return _cpu(call, entry, releases_gil)
    return entry.instead if entry is not None and entry.kind in WAITING else None


def awaited_sentence(
    cause: Cause,
    call: str | None,
    entry: KnownCall | None,
    inner: str | None,
    below: KnownCall | None,
    contenders: Sequence[str],
) -> str | None:
    """What to do about a block in something that is awaited already: never to use what is asynchronous.

    Args:
        cause: why it blocked.
        call: what is awaited.
        entry: what is known of it.
        inner: what it was in, deeper down.
        below: what is known of that.
        contenders: names of the threads that took the GIL.
    """
    if cause in ("gc", "descheduled", "gil_contention"):
        return sentence_for(cause, call, None, None, contenders)
    if entry is not None and (entry.kind not in WAITING or entry.pattern == call):
        return entry.instead
    if below is not None and below.kind in ALWAYS:
        return below.instead
    if call is None or cause == "unknown":
        return None
    if cause != "wait":
        return _with("{} is awaited, and computes on the loop: ask it for less at once.", call)
    if inner is None:
        return _with("{} is awaited, and blocks itself: no other await helps.", call)
    return _with("{} is awaited, and blocks itself, in {}: no other await helps.", call, inner)


def disputed_sentence(call: str | None) -> str:
    """What to do where blocks of the same line said that a thread would help, and that it would not."""
    return _with("{} keeps the GIL part of the time: do less at once, or use a process pool.", call or "It")


def _wait(call: str | None, entry: KnownCall | None, inner: str | None) -> str:
    if entry is not None and (entry.kind in WAITING or entry.releases_gil is not False):
        return entry.instead
    if call is None:
        return _WAIT_FOR_SOMETHING
    if inner is None:
        return _with("Run {} in a thread: await asyncio.to_thread(...), or use an async client.", call)
    return _with("{} waits, in {}: run it in a thread, await asyncio.to_thread(...).", call, inner)


def _held(call: str | None, entry: KnownCall | None) -> str:
    if entry is not None and entry.kind in COMPUTING and entry.releases_gil is False:
        return entry.instead
    if call is None:
        return _HELD_BY_SOMETHING
    return _with("{} held the GIL: do less at once, or use a process pool; a thread would not help.", call)


def _cpu(call: str | None, entry: KnownCall | None, releases_gil: bool | None) -> str:
    computing = entry is not None and entry.kind in COMPUTING
    # A driver releases the GIL while it waits; that says nothing of the time in which it computed.
    known = entry.releases_gil if entry is not None and computing else None
    released = known if releases_gil is None else releases_gil
    if released:
        if entry is not None and entry.releases_gil:
            return entry.instead
        if call is None:
            return _RELEASED_BY_SOMETHING
        return _with("{} released the GIL: run it in a thread, await asyncio.to_thread(...).", call)
    if released is False:
        if entry is not None and computing and known is False:
            return entry.instead
        if call is None:
            return _PYTHON
        return _with("Do less in {}, or use a process pool; a thread would not help: it needs the GIL.", call)
    if call is None:
        return _PYTHON
    if entry is not None and computing:
        return entry.instead
    return _with("{} computed, it did not wait: ask it for less at once, or use a process pool.", call)


def kept_sentence(kept_by: str) -> str:
    """What to do about what kept the GIL in another thread, so that the loop could not run on."""
    return _with(
        "{} kept the GIL in a thread: use a process pool, or a library that releases the GIL.", kept_by
    )


def _contention(contenders: Sequence[str]) -> str:
    if not contenders:
        return "Other threads took the GIL: move their CPU work to a process pool, or run fewer of them."
    sentence = "Threads took the GIL: {}, {} and others; move their work to a process pool."
    if len(contenders) < 3:
        sentence = sentence.replace(", {} and others", ", {}" * (len(contenders) - 1))
    return _with(sentence, *contenders[:2])


def _with(sentence: str, *names: str) -> str:
    """The sentence with a name for each ``{}``, cut where they are too long for it."""
    room = MAX_CHARS - len(sentence.replace("{}", ""))
    short = list(names)
    shortest_first = sorted(range(len(names)), key=lambda at: len(names[at]))
    for done, at in enumerate(shortest_first):
        short[at] = _short(names[at], min(_MAX_NAME_CHARS, room // (len(names) - done)))
        room -= len(short[at])
    return sentence.format(*short)


def _short(name: str, most: int) -> str:
    """A dotted name in so many characters: ``sklearn...ForestClassifier.predict``."""
    if len(name) <= most:
        return name
    root, _, rest = name.partition(".")
    parts = rest.split(".")
    for kept in (2, 1):
        short = f"{root}...{'.'.join(parts[-kept:])}"
        if len(short) <= most:
            return short
    return "..." + name[3 - most :]
