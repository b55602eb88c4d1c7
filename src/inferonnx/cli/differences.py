"""How far results differ, on standard output: as text or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from inferonnx.app.host.comparing import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE

if TYPE_CHECKING:
    from inferonnx.app.host.comparing import Difference


def print_difference(
    difference: Difference, *, schema: str, as_json: bool, own: dict[str, object]
) -> None:
    """Print a difference and what was tolerated.

    Args:
        difference: What was found.
        schema: Of the JSON.
        as_json: Whether it is JSON that is wanted.
        own: Rows of the text that this command alone has.
    """
    if as_json:
        facts = {
            "schema": schema,
            "relative_tolerance": RELATIVE_TOLERANCE,
            "absolute_tolerance": ABSOLUTE_TOLERANCE,
        }
        print(json.dumps(facts | asdict(difference)))
        return
    relative = (
        f"{difference.relative:.3g} (tolerated: {RELATIVE_TOLERANCE:g}, "
        f"or {ABSOLUTE_TOLERANCE:g} absolute)"
    )
    rows = {
        "largest difference": f"{difference.absolute:.6g}",
        "of the largest": relative,
        **own,
        "elements compared": difference.n_values,
        "bit for bit equal": yes_or_no(difference.exact),
    }
    for name, value in rows.items():
        print(f"{name:<19} {value}")


def yes_or_no(value: bool) -> str:
    """Return a truth in words."""
    return "yes" if value else "no"
