"""Tensors in .pb files: ONNX's TensorProto, without onnx and without protobuf.

Where the elements stand depends on the type (onnx.proto, "message TensorProto"):
in `raw_data`, or in one of six typed lists. Exactly one of them may hold any.
Elements kept in other files are refused: this room reads no files.
"""

from __future__ import annotations

import struct

from inferonnx.errors import TensorError
from inferonnx.tensors.dtype import DType, dtype_of_number
from inferonnx.tensors.layout import pack_bits
from inferonnx.tensors.npy import check_bools
from inferonnx.tensors.tensor import MAX_RANK, TEXT_ERRORS, Tensor
from inferonnx.tensors.wire import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    encode_bytes,
    encode_number,
    read_fields,
    read_packed,
    signed,
)

_DIMS, _DATA_TYPE, _SEGMENT = 1, 2, 3
_FLOATS, _INT32S, _STRINGS, _INT64S = 4, 5, 6, 7
_NAME, _RAW, _DOUBLES, _UINT64S = 8, 9, 10, 11
_EXTERNAL, _LOCATION = 13, 14

_LISTS = {
    _FLOATS: "float_data",
    _INT32S: "int32_data",
    _STRINGS: "string_data",
    _INT64S: "int64_data",
    _RAW: "raw_data",
    _DOUBLES: "double_data",
    _UINT64S: "uint64_data",
}

# Wire types that each field may have: lists of numbers come packed or one by one.
_WIRES = {
    _DIMS: (VARINT, BYTES),
    _DATA_TYPE: (VARINT,),
    _FLOATS: (FIXED32, BYTES),
    _INT32S: (VARINT, BYTES),
    _STRINGS: (BYTES,),
    _INT64S: (VARINT, BYTES),
    _NAME: (BYTES,),
    _RAW: (BYTES,),
    _DOUBLES: (FIXED64, BYTES),
    _UINT64S: (VARINT, BYTES),
    _LOCATION: (VARINT,),
}

_TYPED = {
    DType.FLOAT: _FLOATS,
    DType.COMPLEX64: _FLOATS,
    DType.DOUBLE: _DOUBLES,
    DType.COMPLEX128: _DOUBLES,
    DType.INT64: _INT64S,
    DType.UINT32: _UINT64S,
    DType.UINT64: _UINT64S,
    DType.STRING: _STRINGS,
}
"""Which list holds elements of a type; int32_data where nothing is said."""

_NUMBER_LISTS = (_INT32S, _INT64S, _UINT64S)

_INTEGERS_64 = (DType.INT64, DType.UINT64)

_ALIGNMENT = 8
"""What the widest element needs, in bytes."""


def parse_tensor_pb(data: bytes | memoryview) -> tuple[str, Tensor]:
    """Return name (may be empty) and tensor in the bytes of a TensorProto.

    The tensor is a view of the bytes where the elements are stored raw and aligned.

    Raises:
        TensorError: They are no TensorProto, or one that contradicts itself.
    """
    fields = _Fields(memoryview(data).cast("B"))
    dtype = dtype_of_number(fields.data_type)
    if dtype is None:
        raise TensorError(
            f"the file is not a TensorProto: it has element type {fields.data_type}",
            hint="Sequences, maps and models are other messages; give one tensor a file.",
        )
    if len(fields.dims) > MAX_RANK or any(size < 0 for size in fields.dims):
        raise TensorError(f"the TensorProto has the shape {fields.dims!r:.200}")
    held = [field for field in _LISTS if fields.lists.get(field)]
    if len(held) > 1:
        names = " and ".join(_LISTS[field] for field in held)
        raise TensorError(f"the TensorProto holds its elements twice, as {names}")
    typed = _TYPED.get(dtype, _INT32S)
    if held and held[0] != typed and (held[0] != _RAW or dtype is DType.STRING):
        raise TensorError(
            f"the TensorProto holds {dtype.onnx_name} in {_LISTS[held[0]]}, where it can't stand"
        )
    if dtype is DType.STRING:
        return fields.name, Tensor(dtype=dtype, shape=fields.dims, strings=fields.texts())
    if held and held[0] in _NUMBER_LISTS:
        elements: bytes | memoryview = _pack_numbers(dtype, fields.numbers(held[0]))
    else:
        elements = fields.joined(held[0]) if held else b""
    if dtype is DType.BOOL:
        check_bools(elements)
    return fields.name, Tensor(dtype=dtype, shape=fields.dims, data=elements)


def encode_tensor_pb(name: str, tensor: Tensor) -> bytes:
    """Return the bytes of a TensorProto, with raw elements, as onnx's own helper makes it."""
    return b"".join(tensor_pb_pieces(name, tensor))


def tensor_pb_pieces(name: str, tensor: Tensor) -> list[bytes | memoryview]:
    """Return the bytes of `encode_tensor_pb` in pieces; elements stay where they lie."""
    pieces: list[bytes | memoryview] = [encode_number(_DIMS, size) for size in tensor.shape]
    pieces.append(encode_number(_DATA_TYPE, tensor.dtype))
    if tensor.strings is not None:
        pieces += encode_bytes(
            _STRINGS, [text.encode(errors=TEXT_ERRORS) for text in tensor.strings]
        )
    if name:
        try:
            pieces += encode_bytes(_NAME, [name.encode()])
        except UnicodeEncodeError as error:
            raise TensorError(f"{name!r:.80} can't name a tensor") from error
    if tensor.strings is None:
        pieces += encode_bytes(_RAW, [tensor.data])
    return pieces


class _Fields:
    """What the message holds, before its parts are held against each other."""

    def __init__(self, view: memoryview) -> None:
        self.name = ""
        self.data_type = 0
        self.dims: list[int] = []
        # For each list of elements: packed runs as bytes, single varints as numbers.
        self.lists: dict[int, list[memoryview | int]] = {}
        self._view = view
        for field, wire, number, data in read_fields(view):
            if field in (_SEGMENT, _EXTERNAL) or (field == _LOCATION and number):
                raise TensorError(
                    "the TensorProto keeps its elements elsewhere, which is not read",
                    hint="Save it with its data inside (onnx.external_data_helper can).",
                )
            if wire not in _WIRES.get(field, (wire,)):
                raise TensorError(
                    f"the file is not a TensorProto: field {field} is of another kind"
                )
            self._keep(field, wire, number, data)

    def _keep(self, field: int, wire: int, number: int, data: memoryview) -> None:
        if field == _DIMS:
            numbers = [number] if wire == VARINT else read_packed(data)
            self.dims += [signed(n) for n in numbers]
        elif field == _DATA_TYPE:
            self.data_type = signed(number)
        elif field == _NAME:
            try:
                self.name = str(data, "utf-8")
            except UnicodeDecodeError as error:
                raise TensorError("the TensorProto's name is not text in UTF-8") from error
        elif field in _LISTS and wire == VARINT:
            self.lists.setdefault(field, []).append(number)
        elif field in _LISTS and (len(data) or field == _STRINGS):
            # Elements at odd places are moved: other code may read them in whole words.
            fixed = field in (_RAW, _FLOATS, _DOUBLES)
            run = memoryview(bytes(data)) if fixed and number % _ALIGNMENT else data
            runs = self.lists.setdefault(field, [])
            if field == _RAW:
                runs.clear()  # what stands once counts the last time, as protobuf has it
            runs.append(run)

    def joined(self, field: int) -> bytes | memoryview:
        """Return a list of fixed-width elements as bytes."""
        runs = [run for run in self.lists[field] if isinstance(run, memoryview)]
        return runs[0] if len(runs) == 1 else b"".join(runs)

    def texts(self) -> list[str]:
        """Return the list of strings."""
        return [bytes(run).decode(errors=TEXT_ERRORS) for run in self.lists.get(_STRINGS, [])]

    def numbers(self, field: int) -> list[int]:
        """Return a list of varints."""
        result: list[int] = []
        for run in self.lists.get(field, []):
            if isinstance(run, int):
                result.append(run)
            else:
                result += read_packed(run)
        return result


def _pack_numbers(dtype: DType, numbers: list[int]) -> bytes:
    """Return varints as elements of `dtype`.

    Raises:
        TensorError: One does not fit; cutting it would give another number without a word.
    """
    if dtype in _INTEGERS_64:
        return struct.pack(f"<{len(numbers)}Q", *numbers)
    if dtype is not DType.UINT32:
        # int32_data: protobuf reads 32 bits of each number, with the sign in the highest.
        numbers = [(n & 0xFFFF_FFFF) - ((n & 0x8000_0000) << 1) for n in numbers]
    # Elements of four and two bits come packed already, a byte a number.
    width = 8 if dtype.bits in (4, 2) else dtype.bits
    low, high = 0, (1 << width) - 1
    if dtype in (DType.INT8, DType.INT16, DType.INT32):
        low, high = -(1 << width - 1), (1 << width - 1) - 1
    if numbers and (min(numbers) < low or max(numbers) > high):
        raise TensorError(f"the TensorProto holds a number that is no {dtype.onnx_name}")
    if width == 6:
        return pack_bits(bytes(numbers), 6)
    letter = {8: "b", 16: "h", 32: "i"}[width]
    return struct.pack(f"<{len(numbers)}{letter if low else letter.upper()}", *numbers)
