"""Tables as text, for terminals and for Markdown, and times as people read them."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"[-+−]?[\d.,]+(?: ?[%A-Za-zµ×/]+)?|[-–—]?", re.ASCII)
"""A number with at most a unit after it, or a dash that stands for none."""

_GAP = "  "


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table for a terminal: columns as wide as needed, numbers to the right.

    Control characters in cells are shown escaped, so that a model's names can't
    drive the terminal. There is no newline at the end.

    Raises:
        ValueError: A row has another number of cells than there are headers.
    """
    body = [[printable(_text(cell)) for cell in row] for row in rows]
    head = [printable(header) for header in headers]
    right = _number_columns(head, body)
    widths = [max(columns_of(row[i]) for row in [head, *body]) for i in range(len(head))]
    rule = ["─" * width for width in widths]
    lines = []
    for row in [head, rule, *body]:
        cells = [
            padded(cell, width, to_right=to_right)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append(_GAP.join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown (GitHub's), columns of numbers to the right.

    What would end a cell or start markup is escaped. There is no newline at the end.

    Raises:
        ValueError: A row has another number of cells than there are headers.
    """
    body = [[printable(_text(cell)) for cell in row] for row in rows]
    right = _number_columns(list(headers), body)
    lines = [[_markdown(printable(header)) for header in headers]]
    lines.append(["---:" if to_right else "---" for to_right in right])
    lines += [[_markdown(cell) for cell in row] for row in body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_duration(seconds: float) -> str:
    """Return `seconds` for a person, with three digits that count: "4.30 µs", "138 ms"."""
    if seconds == 0:
        return "0 s"
    scale, unit = 1.0, "s"
    if abs(seconds) < 999.5e-6:
        scale, unit = 1e6, "µs"
    elif abs(seconds) < 999.5e-3:
        scale, unit = 1e3, "ms"
    value = seconds * scale
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"


def printable(text: str) -> str:
    """Return `text` in one line, its control characters escaped: it may be a stranger's."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def columns_of(text: str) -> int:
    """Return the columns that a terminal takes: two for wide characters, none for marks."""
    if text.isascii():
        return len(text)
    return sum(_columns(c) for c in text)


def padded(cell: str, width: int, *, to_right: bool = False) -> str:
    """Return `cell` with spaces to `width` columns; a wider one as it is."""
    space = " " * (width - columns_of(cell))
    return space + cell if to_right else cell + space


def clipped(text: str, width: int) -> str:
    """Return as much of `text` as `width` columns hold."""
    if columns_of(text) <= width:
        return text
    room = width
    for i, c in enumerate(text):
        room -= _columns(c)
        if room < 0:
            return text[:i]
    return text


def _number_columns(headers: list[str], body: list[list[str]]) -> list[bool]:
    for row in body:
        if len(row) != len(headers):
            raise ValueError(f"a row has {len(row)} cells, the table {len(headers)} columns")
    columns = [[row[i] for row in body] for i in range(len(headers))]
    return [any(cells) and all(_NUMBER.fullmatch(cell) for cell in cells) for cells in columns]


def _text(cell: object) -> str:
    if cell is None:
        return "–"
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", text)


def _columns(c: str) -> int:
    if unicodedata.combining(c):
        return 0
    return 1 + (unicodedata.east_asian_width(c) in ("W", "F"))
