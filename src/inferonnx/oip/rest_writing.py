"""Tensors written into the body of a REST message, request or response."""

from __future__ import annotations

import json

from inferonnx.oip.datatypes import ARRAY_LETTERS, datatype_of, encode_raw
from inferonnx.oip.errors import InvalidRequestError, shown
from inferonnx.oip.json_data import write_elements
from inferonnx.tensors import DType

TYPE_CHECKING = False
if TYPE_CHECKING:
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


class Body:
    """A body in the making: pieces of JSON, and the binary forms that follow them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._json: list[bytes | memoryview] = []
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
            self._json += write_elements(tensor, named.name)
            self._json.append(b"]}")
        self._separator = b","

    def close(self) -> tuple[list[bytes | memoryview], int | None]:
        """End the JSON; return all pieces, and its length if anything binary was added."""
        self._json.append(b"]}")
        length = sum(map(len, self._json)) if self._has_binary else None
        return [*self._json, *self._blobs], length

    @property
    def has_blobs(self) -> bool:
        """Whether anything follows the JSON."""
        return bool(self._blobs)


def dump(value: Any) -> bytes:
    """Return JSON in UTF-8, without white space; what UTF-8 can't encode is escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")
