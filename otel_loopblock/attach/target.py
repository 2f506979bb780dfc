"""The session in the watched process: begins with the command's request, ends with the connection.

It has a thread of its own, which waits for the command's end and then takes everything out. What stays is the
code that was imported: Python cannot forget it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Mapping
from contextvars import Context
from functools import partial
from types import FrameType
from typing import Any

from otel_loopblock import core, guard, threads
from otel_loopblock.attach.messages import Broken, Line, Message
from otel_loopblock.attach.running import running_loops
from otel_loopblock.attach.watcher import Watcher
from otel_loopblock.clocks import monotonic
from otel_loopblock.config import Config
from otel_loopblock.explain.stack import Frame, to_frame
from otel_loopblock.hooks import (  # noqa: F401  # by now: the loop itself would have to wait for them
    already_running,
    unhooked,
    uvloop,
)
from otel_loopblock.naming import printable
from otel_loopblock.runtime import runtime
from otel_loopblock.version import __version__
from otel_loopblock.watch.loops import loops as monitored

COVERED_S = 2.0
"""How long a loop may take to come by before it is said to be blocked."""

REQUEST_S = 10.0
"""How long the command may take to say what it wants."""

MAX_LATE_FRAMES = 12
"""Of the stack of a loop that is blocked already."""


class Refused(Exception):
    """This process cannot be watched, or not so; the message says why."""


def serve(connection: socket.socket, loop: asyncio.AbstractEventLoop | None) -> None:
    """Serve one command to its end; the target of a thread, never raises.

    Args:
        connection: to the command.
        loop: the one that runs in the main thread, where it is known.
    """
    guard.call("serve otel-loopblock attach", threads.enter)
    guard.call("serve otel-loopblock attach", _serve, Line(connection), loop)


def _serve(line: Line, loop: asyncio.AbstractEventLoop | None) -> None:
    session = Session(line)
    try:
        try:
            request = next(line.receive(REQUEST_S), None)
            if request is None:
                raise Broken("no request came")
            session.begin(request, loop)
        except Refused as refused:
            line.send({"error": str(refused)})
            return
        session.wait()
    except (Broken, EOFError):
        pass  # nobody is there any more
    finally:
        session.end()


class Session:
    """What one command has put into this process.

    Args:
        line: to the command.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._watcher: Watcher | None = None
        self._sending = threading.Lock()

    def begin(self, request: Message, main: asyncio.AbstractEventLoop | None) -> None:
        """Watch the loops of this process.

        Args:
            request: what the command asks for.
            main: the loop of the main thread, where it is known.

        Raises:
            Refused: that cannot be; nothing has changed.
            Broken: the command is gone.
        """
        if request.get("version") != __version__:
            raise Refused(
                f"the process has otel_loopblock {__version__} loaded, this command is of version "
                f"{request.get('version')}: use the command of {os.path.dirname(os.path.dirname(__file__))}"
            )
        _check_free()
        loops = running_loops()
        if main is not None and main.is_running():
            loops[main] = threading.main_thread().ident or 0
        if not loops:
            raise Refused("no event loop runs in it: nothing can be blocked")
        options: Mapping[str, Any] = request.get("options") or {}
        keeps = bool(request.get("keep"))
        try:
            config = Config.load(options)
        except ValueError as error:
            raise Refused(str(error)) from error
        if not threads.may_start():
            raise Refused("its threads are greenlets of gevent or eventlet, or it is a sub-interpreter")
        self._watcher = Watcher(config, self._tell, follows=not keeps)
        if keeps:
            _keep(options)
        try:
            self._begin(self._watcher, loops, config)
        except BaseException:
            if keeps:  # the user has not been told that it worked
                _undo_keep()
            raise

    def _begin(
        self, watcher: Watcher, loops: Mapping[asyncio.AbstractEventLoop, int], config: Config
    ) -> None:
        current.session = self
        runtime.add(watcher)
        late = _cover(loops)
        hello = {
            "pid": os.getpid(),
            "loops": [type(loop).__module__.partition(".")[0] for loop in loops],
            "threshold_s": config.threshold_s,
            "late": late,
        }
        self._send({"hello": hello})

    def wait(self) -> None:
        """Return when the command has no more to say, or is gone."""
        try:
            while True:
                for _ in self._line.receive():
                    pass
        except (Broken, EOFError):
            return

    def end(self) -> None:
        """Take everything out, say so, and hang up."""
        watcher, self._watcher = self._watcher, None
        if current.session is self:
            current.session = None
        if watcher is not None:
            part = "end otel-loopblock attach"
            guard.call_all(
                part, partial(runtime.remove, watcher), watcher.end, partial(runtime.drop, watcher)
            )
            with contextlib.suppress(Broken):
                self._send({"bye": {"missed": watcher.missed}})
        self._line.close()

    def forked(self) -> None:
        """In a forked child: the thread is not there, and the connection is the parent's."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            runtime.remove(watcher)
        # Closing it leaves the parent's open.
        self._line.close()

    def _send(self, message: Message) -> None:
        with self._sending:  # the watcher has a thread of its own
            self._line.send(message)

    def _tell(self, message: Message) -> None:
        """Send what the command can do without; where it takes nothing any more, the session ends."""
        try:
            self._send(message)
        except Broken:
            with contextlib.suppress(OSError):
                self._line.connection.shutdown(socket.SHUT_RDWR)


class _Current:
    """The session of this process; one at a time."""

    session: Session | None = None


current = _Current()


def _check_free() -> None:
    """Refuse where somebody watches this process already."""
    if current.session is not None:
        raise Refused("another otel-loopblock attach watches it already")
    instrumentor = sys.modules.get("otel_loopblock.instrumentor")
    if instrumentor is not None and instrumentor.LoopBlockInstrumentor().is_instrumented_by_opentelemetry:
        raise Refused(
            "it is instrumented with otel_loopblock already: its blocks are in its traces and metrics"
        )


def _keep(options: Mapping[str, Any]) -> None:
    """Instrument this process for good."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None or not hasattr(api.get_tracer_provider(), "add_span_processor"):
        raise Refused("--keep: it exports no traces with OpenTelemetry, which its blocks would be part of")
    try:
        from otel_loopblock.instrumentor import LoopBlockInstrumentor  # here: it needs OpenTelemetry
    except ImportError as error:
        raise Refused(f"--keep: it lacks what the instrumentation needs: {error}") from error
    instrumentor = LoopBlockInstrumentor()
    instrumentor.instrument(**options)
    if instrumentor._emitter is None:
        instrumentor.uninstrument()
        raise Refused("--keep: it could not be instrumented; its log says why")


def _undo_keep() -> None:
    from otel_loopblock.instrumentor import LoopBlockInstrumentor  # here: as above

    LoopBlockInstrumentor().uninstrument()


def _cover(loops: Mapping[asyncio.AbstractEventLoop, int]) -> list[list[str]]:
    """Have running loops monitored from now on.

    Args:
        loops: each with the id of its thread.

    Returns:
        For each that is blocked just now, the lines of its stack, the innermost first.
    """
    waiting: list[tuple[threading.Event, int]] = []
    for loop, thread_id in loops.items():
        done = threading.Event()
        with contextlib.suppress(RuntimeError):  # it was closed meanwhile
            loop.call_soon_threadsafe(_cover_here, done, context=Context())
            waiting.append((done, thread_id))
    until = monotonic() + COVERED_S
    return [
        [printable(f"{each.file}:{each.line} {each.function}", 500) for each in _frames(thread_id)]
        for done, thread_id in waiting
        if not done.wait(max(0.0, until - monotonic()))
    ]


def _cover_here(done: threading.Event) -> None:
    """What the loop calls itself."""
    guard.call("cover a running loop", _cover_running, sys._getframe().f_back)
    done.set()


def _cover_running(caller: FrameType | None) -> None:
    runtime.cover()
    loop = asyncio.get_running_loop()
    monitor = monitored.of(loop)
    if monitor is None:
        return
    monitor.end_start_up()  # it was not seen, and is taken to be over
    if caller is not None and not isinstance(loop, asyncio.BaseEventLoop):
        monitored.callers.add(caller.f_code)  # it has no frame of its own: this one bounds the stacks


def _frames(thread_id: int) -> list[Frame]:
    return [to_frame(raw) for raw in core.stack(thread_id, MAX_LATE_FRAMES) or ()]


def _forked() -> None:
    session, current.session = current.session, None
    if session is not None:
        session.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(guard.call, "leave a forked child alone", _forked))
