"""Tensors by name in .npz files, as `numpy.savez` writes them: a ZIP of .npy files.

ZIP is read by a hundred lines of our own rather than by `zipfile`, whose import
costs 2.4 MiB of peak memory in the enclave and does not bound what a small
file unpacks to. Read: stored and deflated members, up to 4 GiB in all. Refused:
encryption, several disks, ZIP64. Only the central directory counts.
Specification: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import struct
import zlib

from inferonnx.errors import TensorError
from inferonnx.tensors.npy import npy_pieces, parse_npy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inferonnx.tensors.tensor import Tensor

MAX_MEMBERS = 4096
"""Tensors in one file; models have tens of inputs and outputs at most."""

MAX_TOTAL_BYTES = 2**32 - 1
"""Bytes of a file and of all that it unpacks to: what ZIP without extensions can say."""

_DEFLATE_RATIO = 1032
"""Deflate can't expand more; a directory that claims so lies."""

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")

_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 0x0001, 0x0800
_DATE = 0x0021
"""1 January 1980: a file says nothing about when it was written, so equal tensors, equal bytes."""

_HINT = "Write the file again with numpy.savez or numpy.savez_compressed."


def parse_npz(data: bytes | memoryview) -> dict[str, Tensor]:
    """Return the tensors in the bytes of an .npz file, by name, in the file's order.

    Raises:
        TensorError: They are not a ZIP file that holds only .npy files, intact and unencrypted.
    """
    view = memoryview(data).cast("B")
    tensors: dict[str, Tensor] = {}
    room = MAX_TOTAL_BYTES
    for entry in _read_directory(view):
        if not entry.name.endswith(".npy"):
            raise _error(f"it holds {entry.name!r:.80}, which is not an .npy file")
        name = entry.name[: -len(".npy")]
        if name in tensors:
            raise _error(f"it holds {name!r:.80} twice")
        room -= entry.size
        if room < 0:
            raise _error(f"it unpacks to more than {MAX_TOTAL_BYTES} bytes")
        try:
            tensors[name] = parse_npy(_unpack(view, entry))
        except TensorError as error:
            message = f"tensor {name!r:.80} in the npz file: {error.message}"
            raise TensorError(message, where=error.where, hint=error.hint) from error
    return tensors


def encode_npz(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of an .npz file, uncompressed as `numpy.savez` leaves it.

    Raises:
        TensorError: A name or a type can't stand in such a file, or they exceed 4 GiB.
    """
    return b"".join(npz_pieces(tensors))


def npz_pieces(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of an .npz file in pieces; elements are views of the tensors.

    For writing large tensors without a second copy of them in memory.

    Raises:
        TensorError: A name or a type can't stand in such a file, or they exceed 4 GiB;
            perhaps only after some pieces.
    """
    if len(tensors) > MAX_MEMBERS:
        raise TensorError(f"an npz file holds up to {MAX_MEMBERS} tensors, not {len(tensors)}")
    directory: list[bytes] = []
    offset = 0
    for name, tensor in tensors.items():
        head, elements = npy_pieces(tensor)
        n_bytes = len(head) + len(elements)
        raw = _member_name(name)
        flags = 0 if raw.isascii() else _UTF8
        if offset + _LOCAL.size + len(raw) + n_bytes > MAX_TOTAL_BYTES:
            raise TensorError("the tensors are too large for one npz file", hint="Use .pb files.")
        sums = (zlib.crc32(elements, zlib.crc32(head)), n_bytes, n_bytes)
        common = (20, flags, _STORED, 0, _DATE, *sums, len(raw), 0)
        yield _LOCAL.pack(b"PK\x03\x04", *common) + raw + head
        yield elements
        directory += [_ENTRY.pack(b"PK\x01\x02", 20, *common, 0, 0, 0, 0, offset), raw]
        offset += _LOCAL.size + len(raw) + n_bytes
    listing = b"".join(directory)
    n = len(tensors)
    yield listing + _END.pack(b"PK\x05\x06", 0, 0, n, n, len(listing), offset, 0)


class _Entry:
    """One member, as the central directory describes it."""

    __slots__ = ("crc", "method", "name", "offset", "packed_size", "size")

    def __init__(
        self, *, name: str, method: int, crc: int, packed_size: int, size: int, offset: int
    ) -> None:
        self.name = name
        self.method = method
        self.crc = crc
        self.packed_size = packed_size
        self.size = size
        self.offset = offset


def _error(what: str) -> TensorError:
    return TensorError(f"the npz file can't be read: {what}", hint=_HINT)


def _member_name(name: str) -> bytes:
    try:
        raw = f"{name}.npy".encode()
    except UnicodeEncodeError as error:
        raise TensorError(f"{name!r:.80} can't name a tensor in an npz file") from error
    if not name or "\0" in name or len(raw) > 0xFFFF:
        raise TensorError(f"{name!r:.80} can't name a tensor in an npz file")
    return raw


def _read_directory(view: memoryview) -> list[_Entry]:
    tail = bytes(view[-(_END.size + 0xFFFF) :])
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise _error("the end of a ZIP file is missing, so it is no npz file or cut short")
    _, disk, first_disk, here, n, length, start, comment = _END.unpack_from(tail, at)
    end = len(view) - len(tail) + at
    if disk or first_disk or here != n or at + _END.size + comment != len(tail):
        raise _error("its last record is malformed")
    if start + length != end or n > MAX_MEMBERS:
        raise _error("its directory is not where it should be, or too long")
    entries = []
    packed_total = 0
    at = start
    for _ in range(n):
        entry, at = _read_entry(view, at, end)
        entries.append(entry)
        packed_total += entry.packed_size
    # Members that overlap let a small file unpack to a huge one.
    if at != end or packed_total > start:
        raise _error("its directory does not describe the file")
    return entries


def _read_entry(view: memoryview, at: int, end: int) -> tuple[_Entry, int]:
    if end - at < _ENTRY.size:
        raise _error("its directory is cut short")
    row = _ENTRY.unpack_from(view, at)
    magic, _, _, flags, method, _, _, crc, packed_size, size = row[:10]
    n_name, n_extra, n_comment, _, _, _, offset = row[10:]
    stop = at + _ENTRY.size + n_name + n_extra + n_comment
    if magic != b"PK\x01\x02" or stop > end:
        raise _error("its directory is malformed")
    if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
        raise _error("a member is encrypted or packed in a way that numpy does not write")
    raw = bytes(view[at + _ENTRY.size : at + _ENTRY.size + n_name])
    try:
        name = raw.decode("utf-8" if flags & _UTF8 or raw.isascii() else "cp437")
    except UnicodeDecodeError as error:
        raise _error("a member's name is not text") from error
    entry = _Entry(
        name=name, method=method, crc=crc, packed_size=packed_size, size=size, offset=offset
    )
    return entry, stop


def _unpack(view: memoryview, entry: _Entry) -> bytes:
    if len(view) - entry.offset < _LOCAL.size or bytes(view[entry.offset :][:4]) != b"PK\x03\x04":
        raise TensorError("the ZIP member is not where the directory says", hint=_HINT)
    row = _LOCAL.unpack_from(view, entry.offset)
    start = entry.offset + _LOCAL.size + row[-2] + row[-1]
    packed = view[start : start + entry.packed_size]
    if len(packed) != entry.packed_size:
        raise TensorError("the ZIP member is cut short", hint=_HINT)
    body = _inflate(packed, entry.size) if entry.method == _DEFLATED else bytes(packed)
    if len(body) != entry.size or zlib.crc32(body) != entry.crc:
        raise TensorError("the ZIP member is damaged", hint=_HINT)
    return body


def _inflate(packed: memoryview, size: int) -> bytes:
    if size > len(packed) * _DEFLATE_RATIO + _DEFLATE_RATIO:
        raise TensorError("the ZIP member can't unpack to what it claims", hint=_HINT)
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte more than claimed shows a member that is longer than it says.
        return engine.decompress(packed, size + 1)
    except zlib.error as error:
        raise TensorError("the ZIP member is damaged", hint=_HINT) from error
