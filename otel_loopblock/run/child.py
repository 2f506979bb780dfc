"""The service: started, fed with keys and signals, read from, until it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import selectors
import signal
import socket
import struct
import subprocess
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

from otel_loopblock.run.command import CannotStart
from otel_loopblock.run.screen import Screen

TICK_S = 0.5
"""Between two calls of what looks on."""
LAST_OUTPUT_S = 0.3
"""What a service has left running may hold its terminal open: so long is waited for more."""

PASSED_ON = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""Signals that are meant for the service."""
OF_A_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
"""Those that a terminal sends to all processes in its foreground."""
AT_ONCE_S = 0.02
"""A signal that comes again within this time is the same one: timeout(1) signals a process and then its
group. The service itself would seldom notice; two Ctrl-C make uvicorn give up its clean end."""
_SUSPEND = b"\x1a"


class Child:
    """The service's process, in a session of its own: a signal reaches it once, through us.

    Args:
        command: what to execute.
        environ: its whole environment.
        screen: the terminal, where the service shall have one of its own; ``None``: it has what we have.

    Raises:
        CannotStart: it could not be executed.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], screen: Screen | None) -> None:
        self._screen = screen
        self._master: int | None = None
        self._ignored: list[signal.Signals] = []
        self._signals: deque[int] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._environ = environ

    def run(self, started: Callable[[], None], look: Callable[[], None]) -> int:
        """Run the service to its end.

        Args:
            started: is called once it runs; before that there must be no other thread.
            look: is called every now and then.

        Returns:
            Its exit code; negative: the signal that ended it.

        Raises:
            CannotStart: it could not be executed.
        """
        with self._signals_noted() as noted, contextlib.ExitStack() as stack:
            self._start(stack)
            started()
            assert self._process is not None
            watched = stack.enter_context(selectors.DefaultSelector())
            watched.register(noted, selectors.EVENT_READ)
            if self._screen is not None and self._master is not None:
                self._screen.open()
                stack.callback(self._screen.close)
                watched.register(self._master, selectors.EVENT_READ)
                watched.register(self._screen.keys, selectors.EVENT_READ)
            due = 0.0
            while (code := self._process.poll()) is None:
                if time.monotonic() >= due:
                    look()
                    due = time.monotonic() + TICK_S
                for key, _ in watched.select(max(0.0, due - time.monotonic())):
                    if key.fileobj is noted:
                        with contextlib.suppress(BlockingIOError):
                            noted.recv(4096)
                    elif key.fileobj == self._master:
                        if not self._pass_output():
                            watched.unregister(self._master)
                    elif not self._pass_keys():
                        watched.unregister(key.fileobj)
                self._pass_signals()
            self._pass_last_output()
        return code

    def _start(self, stack: contextlib.ExitStack) -> None:
        files: list[int | None] = [None, None, None]
        slave = -1
        if self._screen is not None:
            self._master, slave = pty.openpty()
            stack.callback(os.close, self._master)
            os.set_blocking(self._master, False)
            with contextlib.suppress(termios.error):
                termios.tcsetattr(slave, termios.TCSANOW, termios.tcgetattr(self._screen.keys))
            self._resize()
            files = [slave if os.isatty(number) else None for number in range(3)]
        try:
            self._process = subprocess.Popen(
                self._command,
                env=self._environ,
                stdin=files[0],
                stdout=files[1],
                stderr=files[2],
                start_new_session=True,
                preexec_fn=partial(_prepare, slave, self._ignored),  # no thread of ours is there by now
            )
        except OSError as error:
            raise CannotStart(f"{self._command[0]}: {error.strerror}") from error
        finally:
            if slave >= 0:
                os.close(slave)

    def _pass_output(self) -> bool:
        """Write what has come; false at the end of all output."""
        assert self._master is not None
        assert self._screen is not None
        try:
            piece = os.read(self._master, 65536)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno != errno.EIO:  # Linux's way to say that nobody has the other side open
                raise
            return False
        self._screen.output(piece)
        return bool(piece)

    def _pass_last_output(self) -> None:
        if self._master is None:
            return
        with selectors.DefaultSelector() as watched:
            watched.register(self._master, selectors.EVENT_READ)
            while watched.select(LAST_OUTPUT_S) and self._pass_output():
                pass

    def _pass_keys(self) -> bool:
        assert self._master is not None
        assert self._screen is not None
        keys = os.read(self._screen.keys, 4096)
        before, suspended, after = keys.partition(_SUSPEND)
        if suspended and termios.tcgetattr(self._master)[3] & termios.ISIG:
            self._suspend()
            keys = before + after
        with contextlib.suppress(BlockingIOError):  # nobody reads them: a terminal drops them, too
            os.write(self._master, keys)
        return bool(suspended or keys)

    def _suspend(self) -> None:
        """What Ctrl-Z does to all processes of a terminal; those of another session it leaves alone."""
        assert self._screen is not None
        self._kill(signal.SIGSTOP, group=True)
        self._screen.close()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._screen.open()
        self._kill(signal.SIGCONT, group=True)

    def _pass_signals(self) -> None:
        if any(number in PASSED_ON for number in self._signals):
            time.sleep(AT_ONCE_S)
        numbers = dict.fromkeys(self._signals.popleft() for _ in range(len(self._signals)))
        for number in numbers:
            if number == signal.SIGWINCH:
                if self._screen is not None:
                    self._screen.resized()
                    self._resize()
            elif number != signal.SIGCHLD:  # that one is seen by polling
                self._kill(number, group=number in OF_A_TERMINAL and _has_terminal())

    def _kill(self, number: int, *, group: bool) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self._process.pid, number)

    def _resize(self) -> None:
        assert self._master is not None
        assert self._screen is not None
        size = struct.pack("HHHH", self._screen.rows - self._screen.panel, self._screen.columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    @contextmanager
    def _signals_noted(self) -> Iterator[socket.socket]:
        """Note signals, and say by a byte on a socket that there is one."""
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.setblocking(False)

        def note(number: int, frame: FrameType | None) -> None:
            self._signals.append(number)

        numbers = (*PASSED_ON, signal.SIGCHLD, signal.SIGWINCH)
        former = {number: signal.signal(number, note) for number in numbers}
        self._ignored = [number for number in PASSED_ON if former[number] is signal.SIG_IGN]
        wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in former.items():
                signal.signal(number, handler)
            reader.close()
            writer.close()


def _prepare(terminal: int, ignored: Sequence[int]) -> None:
    """In the service's process before it is executed: its terminal, and signals to ignore as we were told."""
    if terminal >= 0:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def _has_terminal() -> bool:
    """Whether we are in the foreground of a terminal, whose keys then signal to all processes there."""
    for number in range(3):
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(number) == os.getpgrp()
    return False
