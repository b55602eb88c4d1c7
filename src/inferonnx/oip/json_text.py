"""JSON read piece by piece, so that a hostile text costs no more memory than its length.

`json.loads` makes up to 25 bytes of objects from one byte of text ("[[],[],[],..."). So
the outer structure is walked here, one member at a time, without a stack; only small
values go to `json` whole, and tensors in slices (`json_data`). Stricter than most
readers: UTF-8 without a mark, no name twice, no lone surrogate. As Triton does, NaN
and Infinity are taken.
"""

from __future__ import annotations

import json
import re

from inferonnx.oip.errors import InvalidRequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

MAX_DEPTH = 100
"""Arrays within arrays, and objects likewise; Triton's limit."""

MAX_VALUE_BYTES = 64 << 10
"""Text of a name, or of a value that is no tensor: far above any real one."""

MAX_ITEMS = 1024
"""Members of one object, inputs or outputs of one request."""

_STRUCTURE = re.compile(rb'["\[\]{}]')
_QUOTE = re.compile(rb'["\\]')
_NO_SPACE = re.compile(rb"[^ \t\n\r]")
_LITERAL_END = re.compile(rb'[ \t\n\r,:"\[\]{}]')
_BRACE, _BRACKET, _MARK = b'{["'
_CLOSING_BRACE, _CLOSING_BRACKET, _COMMA, _COLON, _BACKSLASH = b"}],:\\"
_NOTHING = -1


def unparsable(what: str, at: int) -> InvalidRequestError:
    """Return the error for text that is no JSON."""
    return InvalidRequestError(f"failed to parse the request JSON buffer: {what} at {at}")


def too_deep() -> InvalidRequestError:
    """Return the error for arrays within too many arrays."""
    return InvalidRequestError(f"JSON nesting depth exceeds maximum allowed limit ({MAX_DEPTH})")


class JsonReader:
    """A cursor over a JSON text.

    `members` and `elements` stop at each value, which the caller then takes with one of
    `members`, `elements`, `value` and `skip` before it goes on.
    """

    __slots__ = ("_at", "_stop", "_view")

    def __init__(self, view: memoryview) -> None:
        """Stand at the beginning of `view`, flat bytes."""
        self._view = view
        self._at = 0
        self._stop = len(view)

    def peek(self) -> int:
        """Return the next byte that is no white space, -1 at the end."""
        found = _NO_SPACE.search(self._view, self._at, self._stop)
        if found is None:
            self._at = self._stop
            return _NOTHING
        self._at = found.start()
        return self._view[self._at]

    def is_object(self) -> bool:
        """Say whether the next value is an object."""
        return self.peek() == _BRACE

    def is_array(self) -> bool:
        """Say whether the next value is an array."""
        return self.peek() == _BRACKET

    def members(self) -> Iterator[str]:
        """Yield the name of each member of the object that begins here, standing at its value."""
        self._at += 1
        names: set[str] = set()
        if self.peek() == _CLOSING_BRACE:
            self._at += 1
            return
        while True:
            if self.peek() != _MARK:
                self._fail("Missing a name for object member.")
            at = self._at
            name = self.value()
            if name in names:
                raise unparsable("the same name twice in an object", at)
            names.add(name)
            if self.peek() != _COLON:
                self._fail("Missing a colon after a name of object member.")
            self._at += 1
            self.peek()
            yield name
            if self._next(_CLOSING_BRACE, "Missing a comma or } after an object member."):
                return
            if len(names) == MAX_ITEMS:
                self._fail("too many members in an object")

    def elements(self) -> Iterator[int]:
        """Yield the index of each element of the array that begins here, standing at it."""
        self._at += 1
        if self.peek() == _CLOSING_BRACKET:
            self._at += 1
            return
        for index in range(MAX_ITEMS):
            self.peek()
            yield index
            if self._next(_CLOSING_BRACKET, "Missing a comma or ] after an array element."):
                return
        self._fail("too many elements in an array")

    def skip(self) -> tuple[int, int]:
        """Go past the next value and return where it stands; what is inside is not checked."""
        first = self.peek()
        start = self._at
        if first == _MARK:
            self._at = self._string_end(start + 1)
        elif first in (_BRACE, _BRACKET):
            self._skip_nested()
        else:
            found = _LITERAL_END.search(self._view, start, self._stop)
            self._at = self._stop if found is None else found.start()
            if self._at == start:
                self._fail("Invalid value.")
        return start, self._at

    def value(self) -> Any:
        """Return the next value, which must be small."""
        start, stop = self.skip()
        if stop - start > MAX_VALUE_BYTES:
            raise unparsable(f"a value of {stop - start} bytes is too long", start)
        return parse_json(self._view[start:stop], start)

    def finish(self) -> None:
        """Refuse anything but white space behind the value."""
        if self.peek() != _NOTHING:
            self._fail("The document root must not be followed by other values.")

    def _next(self, closing: int, what: str) -> bool:
        """Go past a comma, or past `closing` and return True."""
        found = self.peek()
        if found not in (closing, _COMMA):
            self._fail(what)
        self._at += 1
        return found == closing

    def _skip_nested(self) -> None:
        depth = 0
        while True:
            found = _STRUCTURE.search(self._view, self._at, self._stop)
            if found is None:
                self._at = self._stop
                self._fail("Missing a comma or ] after an array element.")
            self._at = found.end()
            byte = self._view[self._at - 1]
            if byte == _MARK:
                self._at = self._string_end(self._at)
            elif byte in (_BRACE, _BRACKET):
                depth += 1
            else:
                depth -= 1
                if not depth:
                    return

    def _string_end(self, at: int) -> int:
        """Return the place behind the string whose first character is at `at`."""
        end = string_end(self._view, at, self._stop)
        if end is None:
            self._at = self._stop
            self._fail("Missing a closing quotation mark in string.")
        return end

    def _fail(self, what: str) -> NoReturn:
        raise unparsable(what, self._at)


def string_end(view: memoryview, at: int, stop: int) -> int | None:
    """Return the place behind the string whose first character is at `at`, None if it has none."""
    while True:
        found = _QUOTE.search(view, at, stop)
        if found is None:
            return None
        at = found.end()
        if view[at - 1] != _BACKSLASH:
            return at
        at += 1


def parse_document(body: bytes | bytearray | memoryview, *, most: int = MAX_VALUE_BYTES) -> Any:
    """Return the value that a small body stands for.

    Args:
        body: All of it.
        most: Bytes that it may have.

    Raises:
        InvalidRequestError: It is no JSON, too long, or too deep.
    """
    reader = JsonReader(memoryview(body))
    start, stop = reader.skip()
    if stop - start > most:
        raise unparsable(f"a value of {stop - start} bytes is too long", start)
    reader.finish()
    return parse_json(memoryview(body)[start:stop], start)


def parse_json(text: bytes | memoryview, at: int = 0) -> Any:
    """Return the value that a short text stands for.

    Args:
        text: All of it.
        at: Where it stands in the request, for the sentence.

    Raises:
        InvalidRequestError: It is no JSON, or too deep.
    """
    try:
        return decode_json(str(text, "utf-8"))
    except RecursionError as error:
        raise too_deep() from error
    except ValueError as error:  # UnicodeError is one, and what int() says to 5000 digits
        raise unparsable("Invalid value.", at) from error


def decode_json(text: str) -> Any:
    """Return the value that `text` stands for.

    Raises:
        ValueError: It is no JSON, has a name twice, or a surrogate without its other half.
        RecursionError: It is too deep for the interpreter.
    """
    value = _DECODER.decode(text)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("the same name twice in an object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)
