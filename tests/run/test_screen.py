"""The panel at the bottom of a terminal, seen through an emulated one."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

import pyte
import pytest

from otel_loopblock.run.screen import Screen, is_large_enough

ROWS, COLUMNS = 24, 60


class Emulator:
    """A terminal, and the other end of it."""

    def __init__(self) -> None:
        self.raw = b""
        self.master, self.slave = pty.openpty()
        self.resize(ROWS, COLUMNS)
        os.set_blocking(self.master, False)
        self.screen = pyte.HistoryScreen(COLUMNS, ROWS, history=1000)
        self.stream = pyte.ByteStream(self.screen)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def lines(self) -> list[str]:
        try:
            while True:
                piece = os.read(self.master, 65536)
                self.raw += piece
                self.stream.feed(piece)
        except BlockingIOError:
            pass
        return [line.rstrip() for line in self.screen.display]


@pytest.fixture
def emulator():
    emulator = Emulator()
    yield emulator
    os.close(emulator.master)
    os.close(emulator.slave)


@pytest.fixture
def screen(emulator):
    screen = Screen(emulator.slave, emulator.slave)
    screen.open()
    return screen


def test_output_scrolls_above_the_panel(emulator, screen):
    screen.draw([f"panel {row}" for row in range(screen.panel)])
    for number in range(100):
        screen.output(f"line {number}\r\n".encode())
        if number % 7 == 0:
            screen.draw([f"panel {row}" for row in range(screen.panel)])
    lines = emulator.lines()
    assert lines[: ROWS - screen.panel] == [f"line {number}" for number in range(89, 100)] + [""]
    assert lines[ROWS - screen.panel :] == [f"panel {row}" for row in range(screen.panel)]


def test_partial_line_goes_on_where_it_was(emulator, screen):
    for piece in (b"50 %", b"\r60 %", b" done", b"\r\nnext"):
        screen.output(piece)
        screen.draw(["panel"])
    assert emulator.lines()[:2] == ["60 % done", "next"]


def test_colours_of_the_service_are_kept_over_a_drawing(emulator, screen):
    screen.output(b"\x1b[31mred ")
    screen.draw(["\x1b[32mgreen\x1b[0m"])
    screen.output(b"still red")
    emulator.lines()
    row = emulator.screen.buffer[0]
    assert {row[column].fg for column in range(12)} == {"red"}


@pytest.mark.parametrize("start", [b"\x1b", b"\x1b[3", b"\x1b]0;title", "…".encode()[:2]])
def test_nothing_is_drawn_amid_an_escape_sequence_or_a_character(emulator, screen, start):
    screen.draw(["before"])
    emulator.lines()
    screen.output(start)
    screen.draw(["after"])
    assert "after" not in emulator.lines()
    for _ in range(10):  # but one that never ends does not keep the panel as it is
        screen.draw(["after"])
    emulator.lines()
    assert b"after" in emulator.raw


def test_whole_character_is_no_reason_to_wait(emulator, screen):
    screen.output("…".encode())
    screen.draw(["drawn"])
    assert "drawn" in emulator.lines()


def test_panel_is_gone_and_the_terminal_as_before_at_the_end(emulator):
    mode = termios.tcgetattr(emulator.slave)
    screen = Screen(emulator.slave, emulator.slave)
    screen.open()
    assert termios.tcgetattr(emulator.slave) != mode
    screen.output(b"no line end")
    screen.draw(["panel"])
    screen.close()
    assert termios.tcgetattr(emulator.slave) == mode
    os.write(emulator.slave, b"prompt")
    assert [line for line in emulator.lines() if line] == ["no line end", "prompt"]
    assert emulator.screen.margins in (None, (0, ROWS - 1))


def test_window_that_changes_its_size_has_one_panel(emulator, screen):
    screen.output(b"said\r\n")
    screen.draw(["panel"])
    emulator.lines()
    emulator.resize(30, 70)
    emulator.screen.resize(30, 70)
    screen.resized()
    screen.draw(["panel"])
    lines = emulator.lines()
    assert lines.count("panel") == 1
    assert lines[30 - screen.panel] == "panel"
    assert "said" in lines


def test_small_terminal_has_no_panel(emulator):
    assert is_large_enough(emulator.slave)
    emulator.resize(8, 60)
    assert not is_large_enough(emulator.slave)
