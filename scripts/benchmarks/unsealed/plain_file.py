"""A sealed model without its seal: the same partitions, in the clear on disk.

What the paper calls "without TEE" is measured with this. Nothing of it is part of the
package: `inferonnx` opens sealed files alone, and has no cipher that does nothing.

The file keeps a sealed file's layout: a head, the segments at their offsets, the
manifest. Engine, skeletons, cuts and the reading threads are those of the package.
"""

from __future__ import annotations

import os
import struct
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from inferonnx.app.host.opened_file import OpenedFile, open_file
from inferonnx.app.host.opening import make_session
from inferonnx.runtime import process
from inferonnx.runtime.files import FileSource
from inferonnx.sealed import HEADER_BYTES, SegmentTable
from inferonnx.sealed.manifest_codec import encode_manifest, parse_manifest

if TYPE_CHECKING:
    from inferonnx.app.host.keys import Key
    from inferonnx.app.host.session import Session

MAGIC = b"unsealed"
HEAD = struct.Struct("<8sQQQ32s")
"""Magic, bytes of the manifest, bytes of a tag in it, bytes of the file, model id."""

EVERYTHING_BYTES = 1 << 50
"""A budget that holds any model whole."""


class PlainOpener:
    """Where a sealed segment would be decrypted, nothing happens."""

    def __init__(self, table: SegmentTable) -> None:
        """Read segments by `table`."""
        self.table = table

    def open_in_place(self, _index: int, _buffer: memoryview) -> None:
        """Leave the segment as it was read."""

    def wipe(self) -> None:
        """Do nothing: there is no key."""


def unseal(sealed: str, plain: str, *, key: Key) -> None:
    """Write the model in `sealed` to `plain`, in the clear; whole or not at all."""
    opened = open_file(sealed, key=key)
    try:
        table = opened.opener.table
        manifest = encode_manifest(opened.manifest)
        n_tags = len(opened.manifest.tags) // max(1, table.n_segments)
        head = HEAD.pack(
            MAGIC,
            len(manifest),
            n_tags,
            table.end + len(manifest),
            opened.verified.model_id,
        )
        with open(f"{plain}.part", "wb") as file:
            file.write(head.ljust(HEADER_BYTES, b"\0"))
            for index in range(table.n_segments):
                segment = opened.source.read(table.offset(index), table.length(index))
                opened.opener.open_in_place(index, memoryview(segment))
                file.write(segment)
            file.write(manifest)
        os.replace(f"{plain}.part", plain)
    finally:
        opened.close()


def open_plain(path: str, *, resident: bool, spin: bool | None = None) -> Session:
    """Open a file that `unseal` wrote.

    Args:
        path: The file.
        resident: Keep all weights in memory; else every pass reads all of them again.
        spin: Whether idle workers spin (default: as for a sealed model).

    Raises:
        ValueError: It is no such file.
    """
    start = time.perf_counter()
    source = FileSource(path)
    try:
        magic, n_manifest, n_tags, n_bytes, model_id = HEAD.unpack(source.read(0, HEAD.size))
        if magic != MAGIC or n_bytes != source.size:
            raise ValueError(f"{path!r} is no file of unseal.py, or not all of it")
        content = source.read(source.size - n_manifest, n_manifest)
        manifest = parse_manifest(memoryview(content), tag_bytes=n_tags)
    except BaseException:
        source.close()
        raise
    verified = SimpleNamespace(model_id=model_id)
    opener = PlainOpener(SegmentTable.of_manifest(manifest))
    session = make_session(
        OpenedFile(source, cast("Any", verified), manifest, cast("Any", opener)),
        process.cores(),
        spin=spin,
        arena=None,
        as_numpy=False,
        page_drop=False,
        budget_of=lambda *_: EVERYTHING_BYTES,
        concurrency=1,
        start_s=start,
        peak_before=0,
        resident=resident,
    )
    buffer = session._stream._shared
    if buffer is not None:
        buffer.wipe = _leave  # what lies in the clear on disk need not be wiped between passes
    return session


def _leave() -> None:
    """Leave it."""
