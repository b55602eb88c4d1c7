"""Ctrl-C and SIGTERM, so that they are never lost; and how what serves ends by them.

Python raises KeyboardInterrupt wherever it happens to be. Inside a finaliser
(`__del__`) that exception is printed and forgotten, and a long loop would go on.
So the handler also remembers, and long work looks. Inside an import it ends as
whatever the half-made module makes of it, an ImportError or a crash of an extension
module: there the handler waits until the import is over.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from inferonnx.cli.printing import say
from inferonnx.errors import ExitCode

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

_AGAIN_S = 0.02
"""How long an interrupt that came inside an import waits before it is tried again."""

_IMPORT_FILE = "<frozen importlib._bootstrap>"

_seen: list[int] = []
_unraisable = sys.unraisablehook


def install() -> None:
    """Take SIGINT and SIGTERM as interrupts, from now on."""
    _seen.clear()
    signal.signal(signal.SIGTERM, _handle)
    signal.signal(signal.SIGINT, _handle)
    signal.signal(signal.SIGALRM, _handle)
    global _unraisable  # whoever calls `main` may have a hook of its own
    if sys.unraisablehook is not _forgotten:
        _unraisable, sys.unraisablehook = sys.unraisablehook, _forgotten


def rest() -> None:
    """Let go of an interrupt that still waits: it is being answered, or the command is over."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def finish(*, is_process: bool) -> None:
    """Have no interrupt change the outcome any more: it is there, and about to be told.

    Args:
        is_process: The process ends with the command. Others keep the handlers.
    """
    if is_process:
        # Python puts its own functions back to the default when it ends, and no SIG_IGN.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    rest()


def came() -> bool:
    """Tell whether an interrupt has come: whatever else fails then most likely fails of it."""
    return bool(_seen)


def check() -> None:
    """Raise KeyboardInterrupt when an interrupt has come, even if its own was forgotten."""
    if came():
        rest()
        raise KeyboardInterrupt


def stop_on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, sentence: str) -> None:
    """Have the first SIGTERM or SIGINT set `stop`, and the next end the process at once.

    SIGHUP, of a terminal that closes, sets `stop` however often it comes; under nohup it
    does nothing.

    Args:
        loop: In which what serves runs.
        stop: To be set.
        sentence: Said when it is.
    """

    def begin() -> None:
        if not stop.is_set():
            say(sentence)
            stop.set()

    def end() -> None:
        if stop.is_set():
            os._exit(ExitCode.INTERRUPTED)  # at once, whatever runs
        begin()

    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(signal.SIGINT, end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, begin)


def _forgotten(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing of an interrupt that was lost in a finaliser: `check` raises it again.

    Nor of finalisers behind one: they meet objects that were never finished.
    """
    if not _seen and unraisable.exc_type is not KeyboardInterrupt:
        _unraisable(unraisable)


def _handle(number: int, frame: FrameType | None) -> None:
    _seen.append(number)
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_FILE:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
            return
        frame = frame.f_back
    raise KeyboardInterrupt
