"""The header of an .npy file: a Python dict literal, read by a parser for just that.

`ast.literal_eval` would do, but its import costs memory and it takes far more
than numpy ever writes. Specification: NEP 1, "A simple file format for numpy arrays".
"""

from __future__ import annotations

from inferonnx.errors import TensorError

MAX_HEADER_BYTES = 10_000
"""Longest header that is read; numpy has the same limit, and a tensor's takes 120 bytes."""

_KEYS = {"descr", "fortran_order", "shape"}


class Header:
    """What the header says: element type as numpy spells it, order, shape."""

    __slots__ = ("descr", "fortran_order", "shape")

    def __init__(self, *, descr: str, fortran_order: bool, shape: tuple[int, ...]) -> None:
        """Keep the three."""
        self.descr = descr
        self.fortran_order = fortran_order
        self.shape = shape


def parse_header(text: str) -> Header:
    """Return what the dict literal `text` holds.

    Raises:
        TensorError: It is anything but the three keys of a plain array.
    """
    reader = _Reader(text)
    found: dict[str, str | bool | tuple[int, ...]] = {}
    reader.take("{")
    while not reader.accept("}"):
        key = reader.string()
        reader.take(":")
        if key in found or key not in _KEYS:
            raise reader.error(f"key {key!r:.40} is not expected")
        found[key] = reader.value()
        if not reader.accept(","):
            reader.take("}")
            break
    reader.end()
    match found:
        case {"descr": str(descr), "fortran_order": bool(order), "shape": tuple(shape)}:
            return Header(descr=descr, fortran_order=order, shape=shape)
    raise reader.error("it lacks one of descr, fortran_order and shape")


def encode_header(header: Header) -> str:
    """Return the dict literal, spelled as numpy spells it."""
    shape = ", ".join(map(str, header.shape)) + ("," if len(header.shape) == 1 else "")
    return (
        f"{{'descr': '{header.descr}', 'fortran_order': {header.fortran_order}, "
        f"'shape': ({shape}), }}"
    )


class _Reader:
    """A place in the text, moved over one token at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def error(self, what: str) -> TensorError:
        return TensorError(
            f"the npy header can't be read: {what}",
            where=f"character {self._at} of the header",
            hint="Write the file again with numpy.save, as a plain numeric or string array.",
        )

    def accept(self, mark: str) -> bool:
        while self._text[self._at : self._at + 1] in (" ", "\t", "\n"):
            self._at += 1
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def take(self, mark: str) -> None:
        if not self.accept(mark):
            raise self.error(f"{mark!r} is missing")

    def end(self) -> None:
        self.accept("")
        if self._at != len(self._text):
            raise self.error("something follows the dict")

    def string(self) -> str:
        for quote in ("'", '"'):
            if self.accept(quote):
                stop = self._text.find(quote, self._at)
                if stop < 0:
                    raise self.error("a string does not end")
                start, self._at = self._at, stop + 1
                return self._text[start:stop]
        raise self.error("a string is missing")

    def value(self) -> str | bool | tuple[int, ...]:
        if self.accept("True"):
            return True
        if self.accept("False"):
            return False
        if self.accept("("):
            return self._sizes()
        if self.accept("["):
            raise self.error("the array has fields, which no tensor has")
        return self.string()

    def _sizes(self) -> tuple[int, ...]:
        sizes: list[int] = []
        while not self.accept(")"):
            sizes.append(self._size())
            if not self.accept(","):
                self.take(")")
                break
        return tuple(sizes)

    def _size(self) -> int:
        self.accept("")
        start = self._at
        while self._text[self._at : self._at + 1] in tuple("0123456789"):
            self._at += 1
        # 19 digits hold every signed 64-bit size; int() of a longer text takes its time.
        if not 0 < self._at - start <= 19:
            raise self.error("the shape is not made of whole numbers")
        size = int(self._text[start : self._at])
        self.accept("L")  # Python 2 marked its long integers so
        return size
