"""Tensors written into the body of a REST message, request or response."""

from __future__ import annotations

import json

from inferonnx.oip.datatypes import ARRAY_LETTERS, datatype_of, encode_raw
from inferonnx.oip.errors import InvalidRequestError, shown
from inferonnx.oip.json_data import write_elements
from inferonnx.tensors import DType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from inferonnx.oip.requests import NamedTensor


def refuse_half(dtype: DType, *, side: str, name: str) -> None:
    """Refuse to write a type that JSON does not carry in this protocol.

    Args:
        dtype: Type of the elements.
        side: "input" or "output".
        name: Of the input; Triton's sentence about outputs names none.
    """
    if dtype in ARRAY_LETTERS or dtype is DType.STRING:
        return
    which = f" {shown(name)}" if side == "input" else ""
    raise InvalidRequestError(
        f"sending {datatype_of(dtype)} data via JSON is not supported. "
        f"Please use the binary data format for {side}{which}"
    )


class Elements:
    """The text of a tensor's elements, written anew each time that it is gone through."""

    def __init__(self, named: NamedTensor) -> None:
        """Keep what to write."""
        self._named = named

    def __iter__(self) -> Iterator[bytes]:
        return write_elements(self._named.tensor, self._named.name)


class Body:
    """A body in the making: pieces of JSON, and the binary forms that follow them.

    Going through it gives all pieces, as often as is wanted; of JSON it holds no text of a
    tensor.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._json: list[bytes | Elements] = []
        self._blobs: list[bytes | memoryview] = []
        self._has_binary = False
        self._separator = b""

    def open(self, members: dict[str, Any], tensors: str) -> None:
        """Write the members that come first, and begin the array `tensors`."""
        text = dump(members)[:-1]
        comma = b"," if members else b""
        self._json.append(text + comma + f'"{tensors}":['.encode())

    def add(self, named: NamedTensor, *, is_binary: bool, side: str) -> None:
        """Write one tensor.

        Args:
            named: What to write.
            is_binary: Whether its elements go behind the JSON.
            side: "input" or "output", for the sentence.
        """
        tensor = named.tensor
        head: dict[str, Any] = {
            "name": named.name,
            "datatype": datatype_of(tensor.dtype),
            "shape": tensor.shape,
        }
        if is_binary:
            blob = encode_raw(tensor)
            head["parameters"] = {"binary_data_size": len(blob)}
            self._has_binary = True
            if len(blob):
                self._blobs.append(blob)
            self._json.append(self._separator + dump(head))
        else:
            refuse_half(tensor.dtype, side=side, name=named.name)
            self._json.append(self._separator + dump(head)[:-1] + b',"data":[')
            self._json.append(Elements(named))
            self._json.append(b"]}")
        self._separator = b","

    def close(self) -> None:
        """End the JSON."""
        self._json.append(b"]}")

    def written(self) -> tuple[list[bytes | memoryview], int | None]:
        """Return all pieces, and the length of the JSON if anything binary was added."""
        text = list(self._text())
        length = sum(map(len, text)) if self._has_binary else None
        return [*text, *self._blobs], length

    def measured(self) -> tuple[int, int | None]:
        """Return the length of all pieces, and that of the JSON as `written` does."""
        length = sum(map(len, self._text()))
        n_bytes = length + sum(memoryview(blob).nbytes for blob in self._blobs)
        return n_bytes, length if self._has_binary else None

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield from self._text()
        yield from self._blobs

    def _text(self) -> Iterator[bytes]:
        for part in self._json:
            if isinstance(part, Elements):
                yield from part
            else:
                yield part

    @property
    def has_blobs(self) -> bool:
        """Whether anything follows the JSON."""
        return bool(self._blobs)


def dump(value: Any) -> bytes:
    """Return JSON in UTF-8, without white space; what UTF-8 can't encode is escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")
