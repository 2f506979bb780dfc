"""One run from start to end: server, service, what is shown, what is written, the exit code."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from otel_loopblock.local.otlp_server import OtlpServer
from otel_loopblock.naming import printable
from otel_loopblock.run import html, view
from otel_loopblock.run.child import Child
from otel_loopblock.run.command import environment, resolve
from otel_loopblock.run.intake import Intake
from otel_loopblock.run.ledger import Ledger
from otel_loopblock.run.record import Report, as_json
from otel_loopblock.run.screen import Screen, is_large_enough

DISPLAY = 2
"""What is ours goes to standard error: what the service writes to standard output stays its own."""
SAID_AGAIN_S = 60.0
"""A culprit is named in a line again after so long."""
MAX_SAID = 1000
WIDTH_OF_FILES = 120
"""Columns of what is no terminal."""
TOO_LONG = 1
"""Exit code of a run with a block that was too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for."""

    words: Sequence[str]
    """The service's command."""
    threshold_ms: float | None
    fail_over_s: float | None
    html: Path | None
    json: Path | None


def run(plan: Plan) -> int:
    """Run a service to its end, show what blocks it, and sum it up.

    Returns:
        The exit code. Where a signal ended the service, it ends this process as well.

    Raises:
        CannotStart: there is no such command.
    """
    command = resolve(plan.words)
    ledger = Ledger()
    intake = Intake(ledger)
    console = Console(stderr=True, soft_wrap=False)
    screen = _screen(console)
    server = OtlpServer(0, intake)
    serving = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    environ = environment(server.server_address[1], threshold_ms=plan.threshold_ms)
    began = time.time()
    shows = _Panel(intake, screen, console) if screen is not None else _Lines(intake)
    looks = _Guarded(shows.show)
    try:
        code = Child(command, environ, screen).run(serving.start, looks.look)
    finally:
        if serving.is_alive():
            server.shutdown()
        server.server_close()
    look = intake.look()
    report = Report(
        command=" ".join(plan.words),
        began_unix_s=began,
        seconds=time.time() - began,
        exit_code=code,
        threshold_s=ledger.threshold_s,
        found=look.found,
        flame=ledger.flame,
        worst_trace=intake.worst_trace,
        worst_spans=tuple(intake.worst_spans()),
    )
    if screen is None:
        looks.look()
    if looks.error is not None:
        _say(f"nothing more was shown after {looks.error!r}: please report it")
    _sum_up(report, console)
    _write(plan, report)
    longest_s = look.found.longest_s
    if plan.fail_over_s is not None and longest_s > plan.fail_over_s:
        _say(f"a block of {view.duration(longest_s)} is longer than --fail-over allows")
        return TOO_LONG
    if code < 0:
        _end_by(-code)
    return code


class _Guarded:
    """What is shown, until it fails: the service goes on."""

    def __init__(self, show: Callable[[], None]) -> None:
        self._show = show
        self.error: Exception | None = None

    def look(self) -> None:
        """Show it."""
        if self.error is None:
            try:
                self._show()
            except Exception as error:
                self.error = error


class _Panel:
    """Shows the panel."""

    def __init__(self, intake: Intake, screen: Screen, console: Console) -> None:
        self._intake = intake
        self._screen = screen
        self._console = console

    def show(self) -> None:
        """Draw it again."""
        self._console.width = self._screen.columns
        panel = view.panel(self._intake.look(self._screen.panel), self._screen.columns, self._screen.panel)
        self._screen.draw(view.drawn(self._console, panel))


class _Lines:
    """Says a line for each culprit."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._said: dict[tuple[str | None, str | None], float] = {}

    def show(self) -> None:
        """Say what is new."""
        for block in self._intake.new_blocks():
            key = block.function, block.place
            now = time.monotonic()
            if now - self._said.get(key, -SAID_AGAIN_S) >= SAID_AGAIN_S and len(self._said) < MAX_SAID:
                self._said[key] = now
                _say(view.line(block))


def _screen(console: Console) -> Screen | None:
    """The terminal, where there is one to draw on and we are in its foreground."""
    if not (console.is_terminal and not console.is_dumb_terminal and os.isatty(0) and os.isatty(DISPLAY)):
        return None
    with contextlib.suppress(OSError):
        if os.tcgetpgrp(0) == os.getpgrp() and is_large_enough(DISPLAY):
            return Screen(0, DISPLAY)
    return None


def _sum_up(report: Report, console: Console) -> None:
    found = report.found
    text = Text("otel-loopblock run: ", "bold").append(printable(report.command, 200), "bold")
    text.append(f"  {view.duration(report.seconds)}, {found.blocks} blocks, ")
    text.append(f"{view.duration(found.blocked_s)} in all")
    width = console.width if console.is_terminal or "COLUMNS" in os.environ else WIDTH_OF_FILES
    console.width = width
    trouble = report.trouble()
    parts: list[RenderableType] = [Text(""), text]
    if trouble is not None:
        parts.append(Text(f"{trouble[0].upper()}{trouble[1:]}.", "yellow"))
    parts.append(view.summary(found, report.worst_spans, report.worst_trace, width))
    for line in view.drawn(console, Group(*parts)):
        print(line.rstrip(), file=sys.stderr)


def _write(plan: Plan, report: Report) -> None:
    texts = {}
    if plan.html is not None:
        texts[plan.html] = html.render(report)
    if plan.json is not None:
        texts[plan.json] = json.dumps(as_json(report), indent=1) + "\n"
    for path, text in texts.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            _say(f"{path} was not written: {error.strerror}")


def _say(text: str) -> None:
    print(f"otel-loopblock run: {text}", file=sys.stderr, flush=True)


def _end_by(number: int) -> None:
    """End as the service did, so that whoever waits for us sees what it would have seen."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    sys.stdout.flush()
    sys.stderr.flush()
    os.kill(os.getpid(), number)
