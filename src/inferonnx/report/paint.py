"""Lines of a terminal from segments of text and style, and bars from sizes.

Nothing is wider than it may be. Bars can be read without colours: each kind of memory
has a character of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from inferonnx.report.text import clipped, columns_of, padded, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

BOLD, DIM, REVERSE, RED = "1", "2", "7", "31"
"""Styles, as terminals number them."""


class Look(NamedTuple):
    """What a terminal can show."""

    has_colours: bool
    has_unicode: bool


class Kind(NamedTuple):
    """A kind of memory: its character, another for ASCII, its colour as terminals number it."""

    name: str
    block: str
    plain: str
    colour: str


SERVER = Kind("server", "█", "#", "90")
MODELS = Kind("models", "▓", "=", "34")
REQUESTS = Kind("requests", "▒", "+", "33")
RESIDENT = Kind("resident", "█", "#", "")
_FREE = "·", "."


class Paint:
    """Joins segments of text and style into lines that fit."""

    def __init__(self, width: int, look: Look) -> None:
        self.width = width
        self._look = look

    def line(self, *segments: tuple[str, str], fills: bool = False) -> str:
        """Return segments as one line, clipped; `fills` pads the last to the edge."""
        room = self.width
        painted = []
        for i, (text, style) in enumerate(segments):
            shown = clipped(self._encodable(text), room)
            if fills and i == len(segments) - 1:
                shown = padded(shown, room)
            room -= columns_of(shown)
            painted.append(self._styled(shown, style))
        return "".join(painted) if fills else "".join(painted).rstrip(" ")

    def ends(self, left: tuple[str, str, str], right: str) -> str:
        """Return a line with text at both ends, the right one only where there is room."""
        bold, style, rest = left
        gap = self.width - len(bold) - columns_of(rest) - len(right)
        tail = f"{' ' * gap}{right}" if gap > 1 else ""
        return self.line((bold, style), (printable(rest), ""), (tail, DIM))

    def block(self, kind: Kind) -> str:
        """Return the character of a kind of memory."""
        return kind.block if self._look.has_unicode else kind.plain

    def bar(
        self, parts: Sequence[tuple[Kind, int]], whole: int, width: int, mark: int | None = None
    ) -> list[tuple[str, str]]:
        """Return parts of a whole as segments of `width` columns together.

        Each edge is rounded, not each part: so they add up, and what is there is seen.
        """
        segments, at, done = [], 0, 0
        for kind, size in parts:
            done += size
            end = min(width, max(round(done * width / whole), at + (1 if size else 0)))
            segments.append((self.block(kind) * (end - at), kind.colour))
            at = end
        free = _FREE[0 if self._look.has_unicode else 1]
        if mark is None:
            return [*segments, (free * (width - at), DIM)]
        place = min(width - 1, max(at, round(mark * width / whole) - 1))
        return [
            *segments,
            (free * (place - at), DIM),
            ("|" if place >= at else "", BOLD),
            (free * (width - place - 1), DIM),
        ]

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._look.has_colours and style and text else text

    def _encodable(self, text: str) -> str:
        return text if self._look.has_unicode else text.encode("ascii", "replace").decode()
