"""Element types of tensors: one table, everything else is looked up in it.

The numbers are those of ONNX (`TensorProto.DataType`). onnxruntime's C API has the
same up to 23; `runtime.ort_values` translates the newer ones.
"""

from __future__ import annotations

from enum import IntEnum

from inferonnx.errors import TensorError


class DType(IntEnum):
    """Type of a tensor's elements, numbered as ONNX numbers it."""

    FLOAT = 1
    UINT8 = 2
    INT8 = 3
    UINT16 = 4
    INT16 = 5
    INT32 = 6
    INT64 = 7
    STRING = 8
    BOOL = 9
    FLOAT16 = 10
    DOUBLE = 11
    UINT32 = 12
    UINT64 = 13
    COMPLEX64 = 14
    COMPLEX128 = 15
    BFLOAT16 = 16
    FLOAT8E4M3FN = 17
    FLOAT8E4M3FNUZ = 18
    FLOAT8E5M2 = 19
    FLOAT8E5M2FNUZ = 20
    UINT4 = 21
    INT4 = 22
    FLOAT4E2M1 = 23
    FLOAT8E8M0 = 24
    UINT2 = 25
    INT2 = 26
    FLOAT6E2M3 = 27
    FLOAT6E3M2 = 28

    @property
    def bits(self) -> int:
        """Bits that one element takes; 0 for strings, whose size is their own."""
        return _TABLE[self][1]

    @property
    def item_bytes(self) -> int:
        """Bytes that one element takes; 0 for strings and for elements smaller than a byte."""
        return _TABLE[self][1] // 8

    @property
    def onnx_name(self) -> str:
        """The name inside onnxruntime's "tensor(float)"."""
        return _TABLE[self][0]

    @property
    def typestr(self) -> str | None:
        """The array interface's name, as "<f4"; None where that interface has none."""
        return _TABLE[self][2]

    def n_bytes(self, n_elements: int) -> int:
        """Return the bytes of `n_elements` elements; small ones are packed without gaps."""
        return (n_elements * _TABLE[self][1] + 7) // 8

    @classmethod
    def of_type(cls, type_text: str) -> DType:
        """Return the element type that onnxruntime's `type_text` names.

        Args:
            type_text: As "tensor(float)".

        Raises:
            TensorError: `type_text` is not a tensor's type, or one that is not known.
        """
        if type_text.startswith("tensor(") and type_text.endswith(")"):
            found = _BY_ONNX_NAME.get(type_text[7:-1])
            if found is not None:
                return found
        raise TensorError(f"{type_text!r} is not the type of a tensor")


# number: (ONNX's name, bits of an element, name in the array interface, name in ml_dtypes)
_TABLE: dict[int, tuple[str, int, str | None, str]] = {
    1: ("float", 32, "<f4", ""),
    2: ("uint8", 8, "|u1", ""),
    3: ("int8", 8, "|i1", ""),
    4: ("uint16", 16, "<u2", ""),
    5: ("int16", 16, "<i2", ""),
    6: ("int32", 32, "<i4", ""),
    7: ("int64", 64, "<i8", ""),
    8: ("string", 0, None, ""),
    9: ("bool", 8, "|b1", ""),
    10: ("float16", 16, "<f2", ""),
    11: ("double", 64, "<f8", ""),
    12: ("uint32", 32, "<u4", ""),
    13: ("uint64", 64, "<u8", ""),
    14: ("complex64", 64, "<c8", ""),
    15: ("complex128", 128, "<c16", ""),
    16: ("bfloat16", 16, None, "bfloat16"),
    17: ("float8e4m3fn", 8, None, "float8_e4m3fn"),
    18: ("float8e4m3fnuz", 8, None, "float8_e4m3fnuz"),
    19: ("float8e5m2", 8, None, "float8_e5m2"),
    20: ("float8e5m2fnuz", 8, None, "float8_e5m2fnuz"),
    21: ("uint4", 4, None, "uint4"),
    22: ("int4", 4, None, "int4"),
    23: ("float4e2m1", 4, None, "float4_e2m1fn"),
    24: ("float8e8m0", 8, None, "float8_e8m0fnu"),
    25: ("uint2", 2, None, "uint2"),
    26: ("int2", 2, None, "int2"),
    27: ("float6e2m3", 6, None, "float6_e2m3fn"),
    28: ("float6e3m2", 6, None, "float6_e3m2fn"),
}

_BY_ONNX_NAME = {row[0]: DType(number) for number, row in _TABLE.items()}
_BY_KIND = {(row[2][1], row[1] // 8): DType(n) for n, row in _TABLE.items() if row[2] is not None}
_BY_ML_NAME = {row[3]: DType(number) for number, row in _TABLE.items() if row[3]}


def dtype_of_number(number: int) -> DType | None:
    """Return the element type with ONNX's `number`, None when there is none."""
    return DType(number) if number in _TABLE else None


def dtype_of_kind(kind: str, item_bytes: int) -> DType | None:
    """Return the type of numpy's `kind` letter (b, i, u, f, c) and size, None when none fits."""
    return _BY_KIND.get((kind, item_bytes))


def dtype_of_ml_name(name: str) -> DType | None:
    """Return the type that ml_dtypes calls `name` (it extends numpy), None when none fits."""
    return _BY_ML_NAME.get(name)
