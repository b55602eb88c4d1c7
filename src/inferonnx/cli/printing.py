"""What a command says beside its result: one line on stderr, in the house's form."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Print a line on stderr."""
    print(f"inferonnx: {printable(text)}", file=sys.stderr)


def say_error(message: str, *, where: str = "", hint: str = "") -> None:
    """Print an error on stderr: one line, and one for the hint."""
    place = f" ({where})" if where and where not in message else ""
    say(f"error: {message}{place}")
    if hint:
        print(f"hint: {printable(hint)}", file=sys.stderr)


def printable(text: str) -> str:
    """Return `text` in one line, control characters escaped: names come from strangers' files."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
