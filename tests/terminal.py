"""A pseudo-terminal with a command on it, and what a person would see there."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

PATIENCE_S = 60
"""No test waits for this long but to fail."""

_SHELL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""What a shell does: the command has the terminal, so that Ctrl-C and Ctrl-Z reach it."""

_PART = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]|\x1b.")


class Terminal:
    """Runs `inferonnx` on a terminal of its own.

    Attributes:
        output: All that was written to it.
    """

    def __init__(self, *arguments: object, columns: int = 80, lines: int = 24, **environment: str):
        self._ours, theirs = os.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._ours)
        self.output = ""
        self._left = b""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SHELL, "-P", "-m", "inferonnx", *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1", "TERM": "xterm", **environment},
        )
        os.close(theirs)

    @property
    def pid(self) -> int:
        """Process of the command, once it has the terminal."""
        return os.tcgetpgrp(self._ours)

    def resize(self, columns: int, lines: int) -> None:
        """Make the window so large; whoever runs on it is told."""
        self.columns, self.lines = columns, lines
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def read(self, timeout_s: float = 0.05) -> None:
        """Take in what is written within this time."""
        end = time.monotonic() + timeout_s
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._ours], [], [], left)
            if not ready:
                return
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # nobody has it open any more
                return
            self._left += data
            text = self._left.decode("utf-8", "ignore")
            self._left = self._left[len(text.encode()) :]
            self.output += text

    def until(self, condition) -> list[str]:
        """Wait until something holds of the lines that are seen, and return them."""
        end = time.monotonic() + PATIENCE_S
        while not condition(seen := self.seen()):
            assert time.monotonic() < end, "\n".join([*seen, repr(self.output[-2000:])])
            self.read()
        return seen

    def seen(self) -> list[str]:
        """Return the lines on the screen now."""
        picture = Picture(self.columns, self.lines)
        picture.write(self.output)
        return picture.rows()

    def end(self) -> int:
        """Wait for the command's end; return its exit code."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < end, self.output[-2000:]
            self.read()
        self.read()
        return self.process.returncode

    def settings(self) -> list:
        """Return how the terminal is set now."""
        return termios.tcgetattr(self._ours)

    def close(self) -> None:
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.wait(PATIENCE_S)
        os.close(self._ours)


class Picture:
    """Draws what a terminal draws, as far as `inferonnx top` asks for it.

    Attributes:
        is_other: Whether the other screen is shown.
        has_cursor: Whether the cursor is.
        wraps: Whether long lines go on in the next.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self._columns, self._lines = columns, lines
        self.is_other, self.has_cursor, self.wraps = False, True, True
        self._clear()

    def write(self, text: str) -> None:
        for match in _PART.finditer(text):
            private, numbers, letter = match.groups()
            if letter is None:
                self._put(match[0])
            elif private:
                self._switch(numbers, letter == "h")
            elif letter == "H":
                self._row = self._column = 0
            elif letter == "K":
                del self._cells[self._row][self._column :]
            elif letter == "J":
                del self._cells[self._row][self._column :]
                self._cells[self._row + 1 :] = [[] for _ in range(self._lines - self._row - 1)]
            else:
                assert letter == "m", match[0]

    def rows(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    def _switch(self, number: str, on: bool) -> None:
        if number == "1049":
            self.is_other = on
            self._clear()
        elif number == "25":
            self.has_cursor = on
        elif number == "7":
            self.wraps = on
        else:
            assert number == "2026", number

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._row += 1
            if self._row == self._lines:
                self._row -= 1
                self._cells = [*self._cells[1:], []]
        else:
            row = self._cells[self._row]
            row += [" "] * (self._column - len(row))
            at = min(self._column, self._columns - 1)
            row[at : at + 1] = [character]
            self._column = at + 1

    def _clear(self) -> None:
        self._row = self._column = 0
        self._cells: list[list[str]] = [[] for _ in range(self._lines)]
