"""The value that all rooms hand around: a type, a shape and the elements' bytes.

This is what a frozen dataclass would be, written by hand: the `dataclasses`
module costs 1.5 MiB of peak memory to import, and this file runs in the enclave.
"""

from __future__ import annotations

from inferonnx.errors import TensorError
from inferonnx.tensors.dtype import DType
from inferonnx.tensors.layout import count_elements

TYPE_CHECKING = False  # `typing` would cost memory; type checkers know this name too
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MAX_RANK = 64
"""Axes of a tensor; numpy has the same limit, and no model comes near it."""

MAX_ELEMENTS = 2**63 - 1
"""Elements of a tensor: what ONNX's signed 64-bit sizes can count."""

TEXT_ERRORS = "surrogateescape"
"""How bytes become strings and strings bytes: a string of ONNX holds any bytes. Those
that are not UTF-8 stand as surrogates, so that nothing is lost on the way."""

_LETTERS: dict[DType, Any] = {
    DType.FLOAT: "f",
    DType.DOUBLE: "d",
    DType.COMPLEX64: "f",
    DType.COMPLEX128: "d",
    DType.INT8: "b",
    DType.INT16: "h",
    DType.INT32: "i",
    DType.INT64: "q",
    DType.UINT8: "B",
    DType.UINT16: "H",
    DType.UINT32: "I",
    DType.UINT64: "Q",
    DType.BOOL: "?",
}


class Tensor:
    """An immutable tensor.

    Attributes:
        dtype: Type of the elements.
        shape: Sizes of the axes; empty for a scalar.
        data: The elements in C order, little-endian, as flat bytes (format "B"); elements
            smaller than a byte are packed, the first in the lowest bits. Empty for strings.
            It may be a view of memory that the caller still holds.
        strings: The elements in C order when `dtype` is STRING, None otherwise. Bytes that
            are not UTF-8 stand as surrogates (`TEXT_ERRORS`).
    """

    __slots__ = ("data", "dtype", "shape", "strings")

    dtype: DType
    shape: tuple[int, ...]
    data: memoryview
    strings: tuple[str, ...] | None

    def __init__(
        self,
        *,
        dtype: DType,
        shape: Iterable[int],
        data: bytes | bytearray | memoryview = b"",
        strings: Iterable[str] | None = None,
    ) -> None:
        """Check that shape and elements fit together.

        Raises:
            TensorError: They do not.
        """
        put = object.__setattr__
        put(self, "dtype", dtype)
        put(self, "shape", _checked_shape(shape))
        put(self, "data", _flat(data))
        put(self, "strings", None if strings is None else tuple(strings))
        if dtype is DType.STRING:
            self._check_strings()
        else:
            self._check_data()

    @property
    def n_elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return count_elements(self.shape)

    def _check_data(self) -> None:
        if self.strings is not None:
            raise TensorError(f"a tensor of {self.dtype.onnx_name} can't hold strings")
        needed = self.dtype.n_bytes(self.n_elements)
        if len(self.data) != needed:
            raise TensorError(
                f"a tensor of {self.dtype.onnx_name} and shape {list(self.shape)} takes "
                f"{needed} bytes, but there are {len(self.data)}"
            )

    def _check_strings(self) -> None:
        if self.strings is None or len(self.data):
            raise TensorError("a tensor of strings holds its elements as strings, not as bytes")
        if len(self.strings) != self.n_elements:
            raise TensorError(
                f"a tensor of shape {list(self.shape)} takes {self.n_elements} strings, "
                f"but there are {len(self.strings)}"
            )
        for i, text in enumerate(self.strings):
            if not isinstance(text, str):
                raise TensorError(f"element {i} is not a string but {type(text).__name__}")
            try:
                text.encode(errors=TEXT_ERRORS)
            except UnicodeEncodeError as error:
                raise TensorError(f"element {i} is not text that UTF-8 can encode") from error

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Tensor can't be changed: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Tensor can't be changed: {name}")

    def __eq__(self, other: object) -> bool:
        """Compare bit for bit, so a NaN equals itself."""
        if not isinstance(other, Tensor):
            return NotImplemented
        return (
            self.dtype is other.dtype
            and self.shape == other.shape
            and self.data == other.data
            and self.strings == other.strings
        )

    # What `data` views may change under us, so a hash would not hold.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Name type and shape, never a value: inputs may be confidential."""
        return f"Tensor({self.dtype.onnx_name}, {list(self.shape)})"

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What lets `numpy.asarray(tensor)` work, without a copy.

        Raises:
            AttributeError: numpy has no such type (strings, bfloat16, float8, 4 bits).
        """
        typestr = self.dtype.typestr
        if typestr is None:
            raise AttributeError(f"numpy has no {self.dtype.onnx_name}")
        return {"version": 3, "shape": self.shape, "typestr": typestr, "data": self.data}

    def tolist(self) -> Any:
        """Return the elements as Python values, in nested lists; one value for a scalar.

        Raises:
            TensorError: Python has no such number (bfloat16, float8, 6, 4 and 2 bits).
        """
        flat: list[Any]
        if self.strings is not None:
            flat = list(self.strings)
        elif self.dtype is DType.FLOAT16:
            from struct import unpack

            flat = list(unpack(f"<{self.n_elements}e", self.data))
        elif self.dtype in _LETTERS:
            flat = self.data.cast(_LETTERS[self.dtype]).tolist() if len(self.data) else []
            if self.dtype in (DType.COMPLEX64, DType.COMPLEX128):
                flat = [complex(a, b) for a, b in zip(flat[::2], flat[1::2], strict=True)]
        else:
            raise TensorError(
                f"Python has no number like {self.dtype.onnx_name}",
                hint="Read the bytes in `data`, or let the model cast its output to float.",
            )
        return _nest(flat, self.shape)


def _checked_shape(shape: Iterable[int]) -> tuple[int, ...]:
    sizes = tuple(shape)
    if len(sizes) > MAX_RANK:
        raise TensorError(f"a tensor of rank {len(sizes)} is not supported, {MAX_RANK} is the most")
    for size in sizes:
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise TensorError(f"a shape is made of whole numbers from 0 up, not {size!r:.40}")
    if count_elements(sizes) > MAX_ELEMENTS or max(sizes, default=0) > MAX_ELEMENTS:
        raise TensorError("the shape holds more elements than any tensor can")
    return sizes


def _flat(data: bytes | bytearray | memoryview) -> memoryview:
    view = memoryview(data)
    if not view.nbytes:
        return memoryview(b"")  # memoryview refuses to cast shapes with a zero in them
    if not view.c_contiguous:
        raise TensorError("a tensor's bytes must stand in C order, without gaps")
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _nest(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    rows = flat
    for axis in range(len(shape) - 1, 0, -1):
        size = shape[axis]
        rows = [rows[i * size : (i + 1) * size] for i in range(count_elements(shape[:axis]))]
    return rows
