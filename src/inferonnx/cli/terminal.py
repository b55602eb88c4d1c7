"""A terminal that shows one screen, until it is given back as it was.

Whatever ends the `with`, an interrupt included, the terminal is itself again. While the
command is stopped (Ctrl-Z) it belongs to the shell.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import tty
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import Self

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""Another screen, no cursor, no wrapping: lines that were drawn for a wider one stay lines."""

_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""What is between is shown at once, by terminals that know this; others ignore it."""

_KEYS = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
}

_PART = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|)|[^\x1b]", re.DOTALL)
"""What one key sends: a sequence that begins with an escape, or a byte."""


def can_be_live() -> bool:
    """Tell whether both ends of the talk with a person are a terminal that can move its cursor."""
    is_capable = os.environ.get("TERM", "") not in ("", "dumb")
    return is_capable and sys.stdin.isatty() and sys.stdout.isatty()


class Screen:
    """Shows lines on the terminal and reads keys, in a `with` block."""

    def __init__(self) -> None:
        """Remember the terminal as it is."""
        self._input, self._output = sys.stdin.fileno(), sys.stdout.fileno()
        self._encoding = sys.stdout.encoding or "ascii"
        self._saved = termios.tcgetattr(self._input)
        self._wakes, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._handlers: dict[int, signal._HANDLER] = {}
        self._is_stopped = False

    def __enter__(self) -> Self:
        """Take the terminal."""
        try:
            self._handlers = {
                signal.SIGWINCH: signal.signal(signal.SIGWINCH, self._resized),
                signal.SIGTSTP: signal.signal(signal.SIGTSTP, self._asked_to_stop),
            }
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        """Give the terminal back; no second interrupt keeps it."""
        kept = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self._give_back()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            os.close(self._waker)
            os.close(self._wakes)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, kept)

    def wake(self) -> None:
        """Have `keys` return; from any thread, or a signal's handler."""
        with suppress(BlockingIOError, OSError):  # full is awake enough; closed is over
            os.write(self._waker, b"!")

    def size(self) -> os.terminal_size:
        """Return columns and lines as they are now."""
        try:
            size = os.get_terminal_size(self._output)
        except OSError:
            size = os.terminal_size((0, 0))
        return size if size.columns and size.lines else os.terminal_size((80, 24))

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines from the top, in one write, over what was there."""
        body = "\x1b[0K\r\n".join(lines)
        self._write(f"{_BEGIN}\x1b[H{body}\x1b[0K\x1b[0J{_END}")

    def read_keys(self) -> list[str]:
        """Wait for keys, a new size, or `wake`; return the keys by name, often none."""
        ready, _, _ = select.select([self._input, self._wakes], [], [])
        if self._wakes in ready:
            os.read(self._wakes, 4096)
        if self._is_stopped:
            self._stop()
        if self._input not in ready:
            return []
        typed = os.read(self._input, 1024)
        return _named(typed) if typed else ["q"]  # nobody is there any more

    def _take(self) -> None:
        tty.setcbreak(self._input, termios.TCSADRAIN)
        self._write(_ENTER)

    def _give_back(self) -> None:
        with suppress(termios.error):  # it is gone
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._saved)
        with suppress(OSError):
            self._write(_LEAVE)

    def _write(self, text: str) -> None:
        # Past sys.stdout: half of what an interrupt cut off would come out of it later.
        rest = text.encode(self._encoding, "replace")
        while rest:
            rest = rest[os.write(self._output, rest) :]

    def _resized(self, _number: int, _frame: FrameType | None) -> None:
        self.wake()

    def _asked_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopped = True
        self.wake()

    def _stop(self) -> None:
        """Stop, with the terminal as the shell left it, until the shell lets us go on."""
        self._is_stopped = False
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._asked_to_stop)
        self._take()


def _named(typed: bytes) -> list[str]:
    """Return the keys by name; sequences of keys that mean nothing here are no keys."""
    found = []
    for part in _PART.findall(typed):
        if not part.startswith(b"\x1b"):
            found.append(part.decode("latin-1"))
        elif part in _KEYS:
            found.append(_KEYS[part])
    return found
