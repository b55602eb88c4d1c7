"""Whatever a caller hands in becomes a Tensor, without a copy where that can be.

Strings first, then the buffer protocol (it holds its memory fast), then the
array interface (for what buffers can't name: bfloat16 and other types that
ml_dtypes adds to numpy), then DLPack. numpy is never imported: its arrays speak
all of these.
"""

from __future__ import annotations

from inferonnx.errors import TensorError
from inferonnx.tensors.dtype import DType, dtype_of_kind, dtype_of_ml_name
from inferonnx.tensors.layout import (
    c_strides,
    count_elements,
    gather,
    is_c_order,
    pack_bits,
    swap_bytes,
)
from inferonnx.tensors.tensor import TEXT_ERRORS, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FORMAT_KINDS = {
    **dict.fromkeys("bhilqn", "i"),
    **dict.fromkeys("BHILQNc", "u"),
    **dict.fromkeys("efd", "f"),
    "Zf": "c",
    "Zd": "c",
    "?": "b",
}
"""Letters of PEP 3118 by numpy's kind; sizes come from the buffer itself."""


def as_tensor(obj: Any) -> Tensor:
    """Return `obj` as a tensor.

    Args:
        obj: A Tensor; a numpy array or scalar, or anything else with an array interface;
            anything with a buffer (`bytes`, `array.array`, `memoryview`) or with DLPack; a
            string, or lists of strings.

    Returns:
        A view of the same memory if that stands in C order in this machine's byte order, a
        copy otherwise. What changes in a shared buffer later changes in the tensor.

    Raises:
        TensorError: `obj` is none of these, or of a type that ONNX has not.
    """
    if isinstance(obj, Tensor):
        return obj
    if isinstance(obj, str):
        return Tensor(dtype=DType.STRING, shape=(), strings=(obj,))
    if isinstance(obj, (list, tuple)):
        return _from_lists(obj)
    interface = _interface(obj)
    text = _from_text_array(obj, interface)
    if text is not None:
        return text
    try:
        view = memoryview(obj)
    except (TypeError, ValueError, BufferError):
        view = None
    if view is not None:
        return _from_buffer(view, interface)
    if interface is not None:
        return _from_interface(obj, interface)
    if hasattr(obj, "__dlpack__") and hasattr(obj, "__dlpack_device__"):
        from inferonnx.tensors.dlpack import from_dlpack

        return from_dlpack(obj)
    raise TensorError(
        f"{type(obj).__name__} is not a tensor",
        hint="Give a numpy array, any object with a buffer or DLPack, or strings.",
    )


def _from_lists(rows: list[Any] | tuple[Any, ...]) -> Tensor:
    """Return nested lists of strings as a tensor; all rows of one level have one length."""
    shape: list[int] = []
    level: list[Any] = [rows]
    while level and all(isinstance(item, (list, tuple)) for item in level):
        size = len(level[0])
        if any(len(item) != size for item in level):
            raise TensorError("the lists of strings have different lengths")
        shape.append(size)
        level = [inner for item in level for inner in item]
    if not level or not all(isinstance(item, str) for item in level):
        raise TensorError(
            "a list must hold strings, all at the same depth",
            hint="Give numbers as a numpy array or an array.array, so that their type is known.",
        )
    return Tensor(dtype=DType.STRING, shape=shape, strings=level)


def _interface(obj: Any) -> dict[str, Any] | None:
    try:
        found = obj.__array_interface__
    except AttributeError:
        return None
    except Exception as error:  # the producer's code: anything may come
        raise TensorError(f"the array interface of {type(obj).__name__} does not work") from error
    if not isinstance(found, dict):
        raise TensorError(f"the array interface of {type(obj).__name__} is not a dict")
    return found


def _from_text_array(obj: Any, interface: dict[str, Any] | None) -> Tensor | None:
    """Return an array of strings ('U', 'S', 'O' or StringDType) as a tensor, None for others."""
    typestr = interface["typestr"] if interface and "typestr" in interface else ""
    if not isinstance(typestr, str):
        raise TensorError("the array interface gives no type")
    if not (typestr[1:2] in ("U", "S", "O") or typestr.startswith("StringDType")):
        return None
    flat = [obj.tolist()] if hasattr(obj, "tolist") else None
    if flat is None or interface is None:
        raise TensorError(f"{type(obj).__name__} holds {typestr!r:.20}, which is not a tensor")
    shape = tuple(interface["shape"])
    for _ in shape:
        flat = [inner for item in flat for inner in item]
    return Tensor(dtype=DType.STRING, shape=shape, strings=[_text(item) for item in flat])


def _text(item: Any) -> str:
    if isinstance(item, str):
        return str(item)
    if isinstance(item, bytes):
        return item.decode(errors=TEXT_ERRORS)
    raise TensorError(
        f"an array of objects must hold strings, not {type(item).__name__}",
        hint="Give numbers as an array with a numeric type.",
    )


def _from_buffer(view: memoryview, interface: dict[str, Any] | None) -> Tensor:
    order, letters = "@", view.format
    if letters[:1] in ("@", "=", "<", ">", "!"):
        order, letters = letters[0], letters[1:]
    kind = _FORMAT_KINDS.get(letters)
    dtype = dtype_of_kind(kind, view.itemsize) if kind is not None else None
    if dtype is None:
        raise TensorError(
            f"elements of the form {view.format!r:.40} have no ONNX type",
            hint="Convert them to a numeric type first, as float32 or int64.",
        )
    shape = view.shape or ()
    if not view.nbytes:
        return Tensor(dtype=dtype, shape=shape)
    data: bytes | bytearray | memoryview = view
    if not view.c_contiguous or _is_misaligned(interface, view.itemsize):
        data = view.tobytes()
    if order in (">", "!") and view.itemsize > 1:
        word = view.itemsize // 2 if kind == "c" else view.itemsize
        data = swap_bytes(memoryview(data).cast("B"), word)
    return Tensor(dtype=dtype, shape=shape, data=data)


def _is_misaligned(interface: dict[str, Any] | None, item: int) -> bool:
    """Say whether the array is known to start at an address that its elements may not have."""
    data = interface.get("data") if interface else None
    return isinstance(data, tuple) and isinstance(data[0], int) and data[0] % item != 0


def _from_interface(obj: Any, interface: dict[str, Any]) -> Tensor:
    """Return an array whose memory only the interface shows, by its address or as a buffer."""
    try:
        typestr, shape = str(interface["typestr"]), tuple(map(int, interface["shape"]))
        item = int(typestr[2:]) if typestr[2:].isdecimal() else 0
        strides = interface.get("strides")
        strides = c_strides(shape, item) if strides is None else tuple(map(int, strides))
        source, start = interface.get("data"), int(interface.get("offset", 0))
    except (KeyError, TypeError, ValueError) as error:
        raise TensorError(f"the array interface of {type(obj).__name__} is malformed") from error
    # The names that ml_dtypes gives are none of numpy's; their typestr says "V" or worse.
    dtype = dtype_of_ml_name(str(getattr(obj, "dtype", ""))) or dtype_of_kind(typestr[1:2], item)
    stored = 1 if dtype is not None and dtype.bits < 8 else dtype.item_bytes if dtype else 0
    if dtype is None or item != stored or len(strides) != len(shape) or min(shape, default=0) < 0:
        raise TensorError(f"elements of the type {typestr!r:.40} have no ONNX type")
    if isinstance(source, tuple) and source and isinstance(source[0], int):
        from inferonnx.tensors.memory import view_strided

        # numpy's scalars hold their memory through the interface, so it is kept too.
        view, offset = view_strided(source[0], shape, strides, item, (obj, interface))
    else:
        view, offset = _exported(source), start
        _check_reach(len(view), offset, shape, strides, item)
    if is_c_order(shape, strides, item) and typestr[0] != ">":
        data: bytes | bytearray | memoryview = view[offset : offset + count_elements(shape) * item]
    else:
        data = gather(view, offset=offset, shape=shape, strides=strides, item=item)
        if typestr[0] == ">":
            data = swap_bytes(memoryview(data), item // 2 if typestr[1] == "c" else item)
    if dtype.bits < 8:
        data = pack_bits(data, dtype.bits)
    return Tensor(dtype=dtype, shape=shape, data=data)


def _exported(source: Any) -> memoryview:
    try:
        view = memoryview(source)
    except (TypeError, ValueError, BufferError) as error:
        raise TensorError("the array interface gives no memory") from error
    if not view.nbytes:
        return memoryview(b"")
    if not view.c_contiguous:
        raise TensorError("the array interface gives memory with gaps")
    return view.cast("B")


def _check_reach(
    length: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], item: int
) -> None:
    """Refuse strides that leave the buffer: slices would silently come out shorter."""
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    low = offset + sum(n for n in reach if n < 0)
    high = offset + sum(n for n in reach if n > 0) + item
    if 0 not in shape and (low < 0 or high > length):
        raise TensorError("the array interface points outside of its memory")
