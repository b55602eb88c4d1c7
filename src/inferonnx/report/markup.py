"""Text and data as they may stand in a page: never markup, never code.

What comes from a model or a file is escaped wherever it stands in HTML, and data is
embedded as JSON without a single `<`.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""What HTML can't hold, or UTF-8 can't encode."""


def escaped(text: str) -> str:
    """Return text as it may stand in an element or in a quoted attribute."""
    return html.escape(_UNSEEN.sub("\ufffd", text))


def embedded(data: Any) -> str:
    """Return data as JSON for a script element; the same data gives the same text."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def tiles(facts: Iterable[tuple[str, str, str]]) -> str:
    """Return tiles: of each its name, its value, and a remark."""
    return "\n".join(
        f'<div class="tile"><dt>{escaped(name)}</dt>'
        f"<dd><strong>{escaped(value)}</strong><span>{escaped(remark)}</span></dd></div>"
        for name, value, remark in facts
    )


def sheet(heads: Sequence[str], rows: Iterable[Sequence[str | tuple[str, ...]]]) -> str:
    """Return a table whose first column names the rows; the others are to the right.

    Args:
        heads: Of the columns.
        rows: Cells as text; of a tuple, the first is large and the others are small below it.
    """
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>'
        + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        '<div class="sheet" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: str | tuple[str, ...]) -> str:
    first, *others = (cell,) if isinstance(cell, str) else cell
    return f"<bdi>{escaped(first)}</bdi>" + "".join(
        f"<small>{escaped(other)}</small>" for other in others if other
    )
