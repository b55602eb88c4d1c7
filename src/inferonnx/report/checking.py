"""What a report is drawn from is JSON, perhaps a stranger's: tables of keys, checked in one place.

A table says of each key how its value is checked and what stands for it where it is
missing. What comes out has the keys of the table and no others, so nothing that was
not looked at reaches a page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inferonnx.errors import UsageError

REQUIRED: Any = object()
"""Stands for the default of a key that may not be missing."""

Table = Mapping[str, tuple[str, Any]]

_MAX_BYTES = 2**53 - 1
"""Whole numbers above are not exact in a page's JavaScript."""

_WANTED = {
    "flag": "true or false",
    "text": "text",
    "bytes": "a whole number from 0 up",
    "time": "a number of seconds from 0 up",
    "number": "a number from 0 up",
    "numbers": "a list of numbers from 0 up",
    "lists": "a list of lists of numbers from 0 up",
}


class Checker:
    """Checks one kind of object; `subject` is what messages call it, "the plan"."""

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def schema(self, data: Any, name: str) -> None:
        """Refuse what is no object of that schema.

        Raises:
            UsageError: It is not.
        """
        if not isinstance(data, Mapping) or data.get("schema") != name:
            raise UsageError(f"{self._subject} is not an object with schema {name!r}")

    def fields(self, row: Any, table: Table, place: str = "") -> dict[str, Any]:
        """Return the keys of the table in `row`, with defaults filled in and nothing else.

        Raises:
            UsageError: `row` is no object, lacks a key or has a wrong value; it names the place.
        """
        if not isinstance(row, Mapping):
            raise UsageError(f"{self._subject}'s {place.rstrip('.')} is not an object", where=place)
        found = {}
        for key, (check, default) in table.items():
            if key not in row and default is REQUIRED:
                raise UsageError(f"{self._subject} has no {place}{key}", where=place + key)
            found[key] = self.value(check, row.get(key, default), place + key)
        return found

    def items(self, row: Any, key: str, place: str = "") -> enumerate[Any]:
        """Return the entries of the list at `key`, numbered; none where there is no list.

        Raises:
            UsageError: There is something else.
        """
        items = row.get(key, ())
        if not isinstance(items, Sequence) or isinstance(items, str):
            raise UsageError(f"{self._subject}'s {place}{key} is not a list", where=place + key)
        return enumerate(items)

    def value(self, check: str, value: Any, place: str) -> Any:
        """Return a value that passes a check; with "?" behind its name, None passes too.

        Raises:
            UsageError: It does not pass.
        """
        kind = check.rstrip("?")
        if value is None and kind != check:
            return None
        checked = _checked(kind, value)
        if checked is None:
            raise UsageError(
                f"{self._subject}'s {place} is {str(value)!r:.60}, but must be {_WANTED[kind]}",
                where=place,
            )
        return checked


def _checked(kind: str, value: Any) -> Any:
    """Return the value as reports use it, None if it does not pass."""
    match kind, value:
        case "flag", bool():
            return value
        case "text", str():
            return value
        case "bytes", int() if not isinstance(value, bool) and 0 <= value <= _MAX_BYTES:
            return value
        case (("time" | "number"), int() | float()) if not isinstance(value, bool):
            return float(value) if math.isfinite(value) and value >= 0 else None
        case "numbers", list() | tuple():
            return _all("number", value)
        case "lists", list() | tuple():
            return _all("numbers", value)
    return None


def _all(kind: str, values: Sequence[Any]) -> list[Any] | None:
    checked = [_checked(kind, value) for value in values]
    return None if any(value is None for value in checked) else checked
