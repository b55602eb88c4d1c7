"""Ctrl-C and SIGTERM, so that they are never lost.

Python raises KeyboardInterrupt wherever it happens to be. Inside a finaliser
(`__del__`) that exception is printed and forgotten, and a long loop would go on.
So the handler also remembers, and long work looks.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_seen: list[int] = []
_unraisable = sys.unraisablehook


def install() -> None:
    """Take SIGINT and SIGTERM as interrupts, from now on."""
    _seen.clear()
    signal.signal(signal.SIGTERM, _handle)
    signal.signal(signal.SIGINT, _handle)
    global _unraisable  # whoever calls `main` may have a hook of its own
    if sys.unraisablehook is not _forgotten:
        _unraisable, sys.unraisablehook = sys.unraisablehook, _forgotten


def check() -> None:
    """Raise KeyboardInterrupt when an interrupt has come, even if its own was forgotten."""
    if _seen:
        raise KeyboardInterrupt


def _forgotten(unraisable: sys.UnraisableHookArgs) -> None:
    """Say nothing of an interrupt that was lost in a finaliser: `check` raises it again.

    Nor of finalisers behind one: they meet objects that were never finished.
    """
    if not _seen and unraisable.exc_type is not KeyboardInterrupt:
        _unraisable(unraisable)


def _handle(number: int, _frame: FrameType | None) -> None:
    _seen.append(number)
    raise KeyboardInterrupt
