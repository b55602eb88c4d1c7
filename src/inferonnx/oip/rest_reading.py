"""Tensors read out of the body of a REST message, request or response."""

from __future__ import annotations

from inferonnx.oip.datatypes import ARRAY_LETTERS, DATATYPES, datatype_of, parse_raw
from inferonnx.oip.errors import InvalidRequestError, shown
from inferonnx.oip.json_data import check_text, read_numbers, read_strings
from inferonnx.oip.json_text import JsonReader
from inferonnx.oip.parameters import (
    as_members,
    as_shape,
    as_unsigned,
    read_text,
    refuse_shared_memory,
)
from inferonnx.oip.requests import NamedTensor
from inferonnx.oip.shapes import check_shape
from inferonnx.tensors import DType, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from inferonnx.oip.requests import Allowance

_BRACKET = b"["[0]


class TensorReader:
    """Goes through the JSON part of a body once; the place of the next binary form goes along.

    Attributes:
        json: The cursor over the JSON part.
    """

    def __init__(self, view: memoryview, stop: int, model: str, allowance: Allowance) -> None:
        """Begin at the beginning.

        Args:
            view: The body.
            stop: Where its JSON part ends.
            model: Name of the model, for the sentences.
            allowance: What tensors may take besides the body.
        """
        self.json = JsonReader(view[:stop])
        self._view = view
        self._at = stop
        self._model = model
        self._allowance = allowance

    def members(self) -> Iterator[str]:
        """Yield the names of the outermost members; none when it is no object."""
        if self.json.is_object():
            yield from self.json.members()
        else:
            self.json.value()
        self.json.finish()

    def finish(self) -> None:
        """Refuse binary data that belongs to no tensor."""
        if self._at != len(self._view):
            raise InvalidRequestError(
                f"unexpected additional input data for model '{shown(self._model)}'"
            )

    def tensors(self, member: str) -> tuple[NamedTensor, ...]:
        """Return the tensors of the array that comes next, the value of `member`."""
        if not self.json.is_array():
            raise no_array(member)
        found: dict[str, NamedTensor] = {}
        for _ in self.json.elements():
            named = self._tensor(*self._tensor_members())
            if named.name in found:
                raise InvalidRequestError(f"input '{shown(named.name)}' already exists in request")
            found[named.name] = named
        return tuple(found.values())

    def _tensor_members(self) -> tuple[dict[str, Any], memoryview | None]:
        """Return the members of a tensor, and the text of its `data` apart."""
        members: dict[str, Any] = {}
        data: memoryview | None = None
        if not self.json.is_object():
            self.json.value()
            return members, data
        for name in self.json.members():
            if name == "data":
                start, stop = self.json.skip()
                data = self._view[start:stop]
            else:
                members[name] = self.json.value()
        return members, data

    def _tensor(self, members: dict[str, Any], data: memoryview | None) -> NamedTensor:
        parameters = as_members(members.get("parameters"), "parameters")
        _check_content(data is not None, parameters)
        name = read_text(members, "name")
        datatype = read_text(members, "datatype")
        shape = as_shape(members)
        dtype = DATATYPES.get(datatype)
        if dtype is None:
            raise InvalidRequestError(f"invalid datatype for input {shown(name)}")
        n_elements = check_shape(name, shape, dtype)
        refuse_shared_memory(parameters)
        if data is None:
            size = as_unsigned(parameters["binary_data_size"], "binary_data_size")
            return NamedTensor(name=name, tensor=self._binary(name, dtype, shape, size))
        return NamedTensor(name=name, tensor=self._json(name, dtype, shape, n_elements, data))

    def _binary(self, name: str, dtype: DType, shape: tuple[int, ...], size: int) -> Tensor:
        missing = size - (len(self._view) - self._at)
        if missing > 0:
            raise InvalidRequestError(
                f"unexpected size for input '{shown(name)}', expecting {missing} "
                f"additional bytes for model '{shown(self._model)}'"
            )
        view = self._view[self._at : self._at + size]
        self._at += size
        return parse_raw(
            dtype, shape, view, name=name, model_name=self._model, allowance=self._allowance
        )

    def _json(
        self, name: str, dtype: DType, shape: tuple[int, ...], n_elements: int, text: memoryview
    ) -> Tensor:
        is_text = dtype is DType.STRING
        if not is_text and dtype not in ARRAY_LETTERS:
            raise InvalidRequestError(
                f"receiving {datatype_of(dtype)} data via JSON is not supported. Please use the "
                f"binary data format for input {shown(name)}"
            )
        if text[0] != _BRACKET:
            raise no_array("data")
        if not n_elements:
            check_text(text)
            return Tensor(dtype=dtype, shape=shape, strings=() if is_text else None)
        if is_text:
            strings = read_strings(text, n_elements, self._allowance)
            return Tensor(dtype=dtype, shape=shape, strings=strings)
        numbers = read_numbers(text, dtype, n_elements, self._allowance)
        return Tensor(dtype=dtype, shape=shape, data=numbers)


def _check_content(has_data: bool, parameters: dict[str, Any]) -> None:
    """Refuse an input whose elements stand in no place, or in several."""
    given = ["data"] if has_data else []
    given += [key for key in ("binary_data_size", "shared_memory_region") if key in parameters]
    if len(given) != 1:
        but = " set " + " ".join(f"'{key}'" for key in given) if given else " no field is set"
        raise InvalidRequestError(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in "
            f"'parameters', 'shared_memory_region' in 'parameters'. But{but}"
        )


def no_array(name: str) -> InvalidRequestError:
    """Return the error for a member that must be an array."""
    return InvalidRequestError(
        f"Unable to parse '{name}': attempt to access JSON non-array as array"
    )
