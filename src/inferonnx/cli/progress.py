"""Progress of long work: one line on a terminal, nothing where nobody looks."""

from __future__ import annotations

import sys

from inferonnx.cli import interrupts


class Progress:
    """Shows the last message on one line of stderr while work goes on."""

    def __init__(self) -> None:
        """Show only on a terminal."""
        self._shows = sys.stderr.isatty()
        self._shown = False

    def __call__(self, text: str) -> None:
        """Replace the line; long work ends here when it was interrupted."""
        interrupts.check()
        if self._shows:
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
            self._shown = True

    def done(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._shown = False
