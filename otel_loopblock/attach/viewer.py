"""The command's side: asks the process in, shows its blocks as they come, has all taken out at the end."""

from __future__ import annotations

import contextlib
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from otel_loopblock.attach import process
from otel_loopblock.attach.messages import Broken, Line, Message, to_block
from otel_loopblock.attach.process import CannotAttach
from otel_loopblock.attach.script import Meeting
from otel_loopblock.emit import attributes
from otel_loopblock.explain.block import Block
from otel_loopblock.local.interruption import interruptible
from otel_loopblock.local.telemetry import Span
from otel_loopblock.naming import printable
from otel_loopblock.run import view
from otel_loopblock.run.intake import Look
from otel_loopblock.run.ledger import Ledger
from otel_loopblock.version import __version__

PATIENCE_S = 30.0
"""How long a process may take to come by: it does so when its main thread runs Python code next."""
SAID_S = 2.0
"""After so long it is said that it is waited for."""
STARTING_S = 3.0
"""A process that has only just been started may not be found yet."""
LEAVING_S = 15.0
"""How long the process may take to take everything out."""
LINES_PER_S = 20
"""Blocks that get a line of their own; all are counted."""
MAX_NAMED = 3
"""Kinds of those who waited that are named."""

RemoteExec = Callable[[int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for."""

    pid: int
    options: Mapping[str, Any]
    """As of :class:`otel_loopblock.config.Config`."""
    seconds: float | None
    """How long to watch; ``None``: until Ctrl-C."""
    keep: bool
    package: Path | None
    """The folder of ``otel_loopblock`` that the process shall use."""


def run(plan: Plan) -> None:
    """Watch a process until the user has seen enough, or it ends.

    Raises:
        CannotAttach: it could not be watched.
        KeyboardInterrupt: the user has changed his mind before the process came by.
    """
    process.check(plan.pid)
    remote_exec: RemoteExec = sys.remote_exec  # type: ignore[attr-defined]  # checked: this is 3.14 or later
    watch(plan, remote_exec)


def watch(plan: Plan, remote_exec: RemoteExec) -> None:
    """The same, with what asks the process to run a script."""
    with interruptible():
        line = _invite(plan, remote_exec)
        try:
            _watch(plan, line)
        finally:
            line.close()


# -- the process is asked in ----------------------------------------------------------------------


def _invite(plan: Plan, remote_exec: RemoteExec) -> Line:
    try:
        meeting = Meeting(plan.package)
    except OSError as error:
        raise CannotAttach(f"no private socket can be made: {error}; see TMPDIR") from error
    asked = False
    try:
        if not process.sees(plan.pid, meeting.script):
            raise CannotAttach(
                f"process {plan.pid} sees other files than this command (a container, a chroot, or "
                "PrivateTmp of systemd): run this command in there, or set TMPDIR to a folder that both see"
            )
        _ask(plan.pid, str(meeting.script), remote_exec)
        asked = True
        connection = _await(plan.pid, meeting)
    except BaseException:
        if asked and process.is_alive(plan.pid):
            meeting.forget()
        else:
            meeting.close()
        raise
    meeting.close()
    line = Line(connection)
    with contextlib.suppress(Broken):  # what it has said before it hung up can be read
        line.send({"version": __version__, "options": dict(plan.options), "keep": plan.keep})
    return line


def _ask(pid: int, script: str, remote_exec: RemoteExec) -> None:
    until = time.monotonic() + STARTING_S
    while True:
        try:
            return remote_exec(pid, script)
        except Exception as error:
            if "find the main thread" in str(error) and time.monotonic() < until:
                time.sleep(0.1)
                continue
            raise CannotAttach(process.why_not(error, pid)) from error


def _await(pid: int, meeting: Meeting) -> Any:
    began, said = time.monotonic(), False
    while time.monotonic() - began < PATIENCE_S:
        if _is_readable(meeting.socket, 0.2):
            return meeting.socket.accept()[0]
        if not process.is_alive(pid):
            raise CannotAttach(f"process {pid} has ended")
        if not said and time.monotonic() - began >= SAID_S:
            said = True
            _say(
                f"waiting for process {pid}: its main thread is idle, or in a call that does not come back. "
                "Any request may wake it"
            )
    raise CannotAttach(
        f"process {pid} has run no Python code in its main thread for {PATIENCE_S:.0f} s: "
        "it is idle, or blocked in one call"
    )


def _is_readable(socket: Any, timeout_s: float) -> bool:
    return bool(select.select([socket], [], [], max(0.0, timeout_s))[0])


# -- it is watched --------------------------------------------------------------------------------


def _watch(plan: Plan, line: Line) -> None:
    hello, early = _greeting(plan.pid, line)
    shown = _Shown(Console(highlight=False))
    loops = ", ".join(str(each) for each in hello.get("loops", ()))
    until = "until Ctrl-C" if plan.seconds is None else f"for {view.duration(plan.seconds)}, or until Ctrl-C"
    threshold = view.duration(float(hello.get("threshold_s", 0.0)))
    shown.say(f"watching process {plan.pid} ({loops}) for blocks of {threshold} and more, {until}")
    if plan.keep:
        shown.say("it stays instrumented after that (--keep)")
    for frames in hello.get("late", ()):
        shown.say("a loop does not come back just now: " + (" ← ".join(map(str, frames)) or "no stack"))
    bye: Message | None = None
    try:
        with shown.live():
            bye = _follow(line, shown, early, plan.seconds)
    except KeyboardInterrupt:
        pass
    if bye is None:
        bye = _leave(line, shown)
    shown.sum_up()
    missed = (bye.get("bye") or {}).get("missed", 0) if bye else 0
    if missed:
        shown.say(f"{missed} more blocks were too many to be told of")
    if bye is None or "bye" not in bye:
        what = "has ended" if process.has_ended(plan.pid) else "has hung up"
        shown.say(f"process {plan.pid} {what}")
    elif plan.keep:
        shown.say(f"process {plan.pid} stays instrumented; all else is taken out again")
    else:
        shown.say(f"all is taken out of process {plan.pid} again")


def _greeting(pid: int, line: Line) -> tuple[Message, list[Message]]:
    """What the process says first, and what it has told of by then."""
    early: list[Message] = []
    until = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < until:
            for message in line.receive(0.2):
                if "error" in message:
                    raise CannotAttach(f"process {pid}: {_refusal(pid, str(message['error']))}")
                if "hello" in message:
                    return message["hello"], early
                early.append(message)
    except (EOFError, Broken):
        pass
    raise CannotAttach(f"process {pid} has hung up: it ended, or its log says why")


def _refusal(pid: int, text: str) -> str:
    found = process.children(pid) if "no event loop" in text else []
    if found:
        text += f". Python processes that it has started: {', '.join(map(str, found[:10]))}"
    return printable(text, 1000)


def _follow(line: Line, shown: _Shown, early: list[Message], seconds: float | None) -> Message | None:
    """Show what comes until the time is over (``None``), or the process ends (its last message)."""
    for message in early:
        shown.take(message)
    until = None if seconds is None else time.monotonic() + seconds
    while until is None or time.monotonic() < until:
        try:
            left = 0.25 if until is None else min(0.25, until - time.monotonic())
            for message in line.receive(left):
                shown.take(message)
        except (EOFError, Broken):
            return {"gone": True}
        shown.refresh()
    return None


def _leave(line: Line, shown: _Shown) -> Message | None:
    """Have the process take everything out; its last message."""
    with contextlib.suppress(OSError):
        line.connection.shutdown(1)
    until = time.monotonic() + LEAVING_S
    with contextlib.suppress(EOFError, Broken):
        while time.monotonic() < until:
            for message in line.receive(0.2):
                if "bye" in message:
                    return message
                shown.take(message)
    return None


# -- what is shown --------------------------------------------------------------------------------


class _Shown:
    """The terminal: a line per block, a table below where it is one, a summary at the end.

    Args:
        console: what is written to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ledger = Ledger()
        self._live: Live | None = None
        self._numbers = iter(range(1, sys.maxsize))
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def say(self, text: str) -> None:
        """A line of ours."""
        self._print(f"otel-loopblock attach: {text}")

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show the table, where this is a terminal."""
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def take(self, message: Message) -> None:
        """Show a block.

        Raises:
            Broken: it is none.
        """
        told = message.get("block")
        if told is None:
            return
        block, waited = to_block(told)
        for booked in self._ledger.add_span(_span(block, next(self._numbers))):
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._lines = second, 0
            self._lines += 1
            if self._lines > LINES_PER_S:
                self._left_out += 1
                continue
            at = time.strftime("%H:%M:%S", time.localtime(block.started_unix_ns / 1e9))
            self._print(f"{at} {view.line(booked)}{_awaited(block)}{_waited(waited)}")

    def refresh(self) -> None:
        """Draw the table again."""
        if self._live is not None:
            found = self._ledger.found(view.MAX_ROWS)
            width, rows = self._console.width, min(view.MAX_ROWS + 3, self._console.height // 2)
            shown = view.panel(Look(found, None, 0.0), width, rows) if found.blocks else Text("")
            self._live.update(shown, refresh=True)

    def sum_up(self) -> None:
        """The table of all."""
        found = self._ledger.found()
        if self._left_out:
            self.say(f"{self._left_out} blocks had no line of their own")
        if found.blocks:
            summary = view.summary(found, (), None, self._console.width)
            for line in view.drawn(self._console, summary):
                self._console.file.write(line.rstrip() + "\n")
        else:
            self.say("nothing has blocked its loops")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)
        self._console.file.flush()


def _span(block: Block, number: int) -> Span:
    """A block as the span of its own that it would be."""
    return Span(
        trace_id=f"{number:032x}",
        span_id=f"{number:016x}",
        parent_span_id=None,
        name=attributes.BLOCKED,
        kind="INTERNAL",
        start_unix_ns=block.started_unix_ns,
        end_unix_ns=block.started_unix_ns + int(block.duration_s * 1e9),
        attributes=attributes.of_block(block, None),
        events=(),
        links=(),
        status="UNSET",
        status_message="",
        dropped_events=0,
        scope="otel_loopblock",
        resource={},
    )


def _awaited(block: Block) -> str:
    return f" Awaited by {' ← '.join(block.awaited_by[:MAX_NAMED])}." if block.awaited_by else ""


def _waited(waited: list[tuple[str, int]]) -> str:
    if not waited:
        return ""
    shown = [f"{count} × {name}" for name, count in waited[:MAX_NAMED]]
    left = sum(count for _, count in waited[MAX_NAMED:])
    return printable(f" Waited for it: {', '.join([*shown, *([f'{left} more'] if left else [])])}.", 500)


def _say(text: str) -> None:
    print(f"otel-loopblock attach: {text}", file=sys.stderr, flush=True)
