"""Tensors in .npy files, as `numpy.save` writes them, without numpy.

Arrays of Python objects are pickles and are never read. Types that .npy can't
name (bfloat16, float8, 6, 4 and 2 bits) are refused in both directions: numpy
itself writes them as "void" and forgets which they were.
"""

from __future__ import annotations

from inferonnx.errors import TensorError
from inferonnx.tensors.dtype import DType, dtype_of_kind
from inferonnx.tensors.header import MAX_HEADER_BYTES, Header, encode_header, parse_header
from inferonnx.tensors.layout import count_elements, fortran_strides, gather, is_c_order, swap_bytes
from inferonnx.tensors.tensor import Tensor

MAGIC = b"\x93NUMPY"

_ALIGNMENT = 64
"""Where the elements begin is a multiple of this, as numpy has it, so they can be mapped."""

_PB_HINT = "Use a .pb file (TensorProto), which holds every type of ONNX."


def parse_npy(data: bytes | memoryview) -> Tensor:
    """Return the tensor in the bytes of an .npy file, as a view of them where that can be.

    Raises:
        TensorError: They are not an .npy file of one plain array, from first to last byte.
    """
    view = memoryview(data).cast("B")
    header, start = _read_header(view)
    body = view[start:]
    order, kind, digits = header.descr[:1], header.descr[1:2], header.descr[2:]
    if kind == "O":
        raise TensorError(
            "the npy file holds pickled Python objects, which are never read",
            hint="Save strings as a numpy array of a 'U' type, numbers as a numeric one.",
        )
    item = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else -1
    if order not in ("<", ">", "|", "=") or item < 0:
        raise TensorError(f"the npy file's type {header.descr!r:.40} is not known")
    if kind in ("U", "S"):
        return _parse_text(body, header, item * 4 if kind == "U" else item)
    dtype = dtype_of_kind(kind, item)
    if dtype is None:
        hint = _PB_HINT if kind == "V" else "Convert it to a numeric type that ONNX has."
        raise TensorError(f"the npy file's type {header.descr!r:.40} has no ONNX type", hint=hint)
    _check_length(body, header.shape, item)
    elements = _in_c_order(body, header, item)
    if order == ">" and item > 1:
        elements = swap_bytes(memoryview(elements), item // 2 if kind == "c" else item)
    if dtype is DType.BOOL:
        check_bools(elements)
    return Tensor(dtype=dtype, shape=header.shape, data=elements)


def encode_npy(tensor: Tensor) -> bytes:
    """Return the bytes of an .npy file, those that `numpy.save` would write.

    Raises:
        TensorError: .npy has no such type.
    """
    return b"".join(npy_pieces(tensor))


def npy_pieces(tensor: Tensor) -> tuple[bytes, bytes | memoryview]:
    """Return the head of an .npy file and the elements behind it: a view, for numbers.

    For writing large tensors without a second copy of them in memory.

    Raises:
        TensorError: .npy has no such type.
    """
    if tensor.strings is not None:
        width = max(map(len, tensor.strings), default=0) or 1
        try:
            body = b"".join(s.encode("utf-32-le").ljust(4 * width, b"\0") for s in tensor.strings)
        except UnicodeEncodeError as error:
            raise TensorError(
                "an npy file can't hold bytes that are no text", hint=_PB_HINT
            ) from error
        for text in tensor.strings:
            if text.endswith("\0"):
                raise TensorError("an npy file can't hold a string that ends in NUL", hint=_PB_HINT)
        return _head(f"<U{width}", tensor.shape), body
    if tensor.dtype.typestr is None:
        raise TensorError(f"an npy file can't hold {tensor.dtype.onnx_name}", hint=_PB_HINT)
    return _head(tensor.dtype.typestr, tensor.shape), tensor.data


def check_bools(data: bytes | bytearray | memoryview) -> None:
    """Refuse bytes other than 0 and 1, which compilers may take for either.

    Raises:
        TensorError: There is another byte.
    """
    if bytes(data).strip(b"\0\1"):
        raise TensorError("a tensor of bool holds bytes other than 0 and 1")


def _head(descr: str, shape: tuple[int, ...]) -> bytes:
    # Room for the first size to grow to 21 digits in place, which numpy leaves and so do we:
    # its files and ours are the same bytes.
    text = encode_header(Header(descr=descr, fortran_order=False, shape=shape))
    if shape:
        text += " " * (21 - len(str(shape[0])))
    fixed = len(MAGIC) + 2 + 2
    padding = -(fixed + len(text) + 1) % _ALIGNMENT
    line = (text + " " * padding + "\n").encode("latin-1")
    return b"".join((MAGIC, b"\x01\x00", len(line).to_bytes(2, "little"), line))


def _read_header(view: memoryview) -> tuple[Header, int]:
    if view[:6] != MAGIC:
        raise TensorError(
            "the file is not an npy file: its first bytes are others",
            hint="Write it with numpy.save, or name it after what it is: .npz, .pb.",
        )
    version = tuple(view[6:8])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise TensorError(f"the npy file has format version {version!r}, which is not known")
    start = 10 if version == (1, 0) else 12
    length = int.from_bytes(view[8:start], "little")
    if len(view) < start + length:
        raise TensorError("the npy file ends within its header", where=f"byte {len(view)}")
    if length > MAX_HEADER_BYTES:
        raise TensorError(f"the npy header is longer than {MAX_HEADER_BYTES} bytes", where="byte 8")
    try:
        text = str(view[start : start + length], "utf-8" if version == (3, 0) else "latin-1")
    except UnicodeDecodeError as error:
        raise TensorError("the npy header is not text", where=f"byte {start}") from error
    return parse_header(text), start + length


def _check_length(body: memoryview, shape: tuple[int, ...], item: int) -> None:
    needed = count_elements(shape) * item
    if len(body) != needed:
        raise TensorError(
            f"the npy file's shape {list(shape)!r:.200} takes {needed} bytes of elements, "
            f"but {len(body)} follow the header",
            hint="The file is cut short or damaged; write it again.",
        )


def _in_c_order(body: memoryview, header: Header, item: int) -> memoryview | bytearray:
    strides = fortran_strides(header.shape, item)
    if not header.fortran_order or is_c_order(header.shape, strides, item):
        return body
    return gather(body, offset=0, shape=header.shape, strides=strides, item=item)


def _parse_text(body: memoryview, header: Header, item: int) -> Tensor:
    """Return fixed-width strings; padding NULs at the end go, as numpy has it."""
    _check_length(body, header.shape, item)
    n = count_elements(header.shape)
    if not item and n > MAX_HEADER_BYTES:
        # Strings of width zero take no bytes, so nothing else bounds their number.
        raise TensorError("the npy file holds too many empty strings")
    data = bytes(_in_c_order(body, header, item))
    codec = "utf-8"
    if header.descr[1] == "U":
        codec = "utf-32-be" if header.descr[0] == ">" else "utf-32-le"
    texts = []
    for i in range(n):
        raw = data[i * item : (i + 1) * item]
        try:
            texts.append(raw.decode(codec).rstrip("\0"))
        except UnicodeDecodeError as error:
            raise TensorError(f"element {i} of the npy file is not text") from error
    return Tensor(dtype=DType.STRING, shape=header.shape, strings=texts)
