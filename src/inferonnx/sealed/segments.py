"""Segments: where they stand in the file, and how each is opened.

The weights of a partition form a block; blocks follow each other in the order
of a pass; a block is cut into segments of 1 MiB, of which only its last may be
shorter. Ciphertexts stand one after the other behind the header, without gaps;
their tags are in the manifest.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from inferonnx.errors import SealedFormatError
from inferonnx.sealed.binding import segment_aad
from inferonnx.sealed.constants import HEADER_BYTES, MAX_SEGMENTS, SEGMENT_BYTES
from inferonnx.sealed.manifest_codec import n_segments_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inferonnx.sealed.keys import FileKeys
    from inferonnx.sealed.manifest import Manifest


class SegmentTable:
    """Positions and lengths of all segments of a file (S-23), from the sizes of its blocks."""

    segment_bytes = SEGMENT_BYTES

    def __init__(self, block_bytes: Sequence[int]) -> None:
        """Lay out blocks of these sizes, in order.

        Raises:
            SealedFormatError: There are more segments than the format allows.
        """
        if n_segments_of(block_bytes) > MAX_SEGMENTS:
            raise SealedFormatError(f"the model has more than {MAX_SEGMENTS} segments")
        counts = [n_segments_of((size,)) for size in block_bytes]
        self._first = list(accumulate(counts, initial=0))
        self._start = list(accumulate(block_bytes, initial=HEADER_BYTES))

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> SegmentTable:
        """Return the table of an opened manifest."""
        return cls([partition.block_bytes for partition in manifest.partitions])

    @property
    def n_segments(self) -> int:
        """Number of segments in the file."""
        return self._first[-1]

    @property
    def end(self) -> int:
        """Offset behind the last segment, where the manifest begins."""
        return self._start[-1]

    def offset(self, index: int) -> int:
        """Return the offset in the file of segment `index`."""
        block = self._block(index)
        return self._start[block] + (index - self._first[block]) * SEGMENT_BYTES

    def length(self, index: int) -> int:
        """Return the bytes of segment `index`, 1 to 1 MiB."""
        end_of_block = self._start[self._block(index) + 1]
        return min(SEGMENT_BYTES, end_of_block - self.offset(index))

    def block_segments(self, block: int) -> range:
        """Return the numbers of the segments of block `block`; none for an empty one."""
        return range(self._first[block], self._first[block + 1])

    def _block(self, index: int) -> int:
        if not 0 <= index < self.n_segments:
            raise IndexError(f"segment {index} of {self.n_segments}")
        return bisect_right(self._first, index) - 1


class SegmentOpener:
    """Opens segments of one file in place; safe to use from many threads."""

    def __init__(self, keys: FileKeys, manifest: Manifest) -> None:
        """Prepare to open the segments of `manifest`, which was opened with `keys`.

        Raises:
            UnavailableError: The suite's library is not installed.
        """
        header = keys.verified.header
        self._suite = header.suite
        self._aead = header.suite.aead(keys.segments_key)
        self._table = SegmentTable.of_manifest(manifest)
        self._commitment = header.commitment
        self._tags = bytes(manifest.tags)

    @property
    def table(self) -> SegmentTable:
        """Where the segments stand."""
        return self._table

    def open_in_place(self, index: int, buffer: memoryview) -> None:
        """Overwrite the ciphertext of segment `index` by its plaintext.

        Args:
            index: Number of the segment.
            buffer: Its ciphertext, exactly, in memory that nobody else can write.

        Raises:
            AuthenticationError: It is not what was sealed there; `buffer` is wiped.
        """
        suite, table = self._suite, self._table
        n_bytes = table.length(index)
        if len(buffer) != n_bytes:
            raise ValueError(f"segment {index} has {n_bytes} bytes")
        tag = self._tags[index * suite.tag_bytes : (index + 1) * suite.tag_bytes]
        aad = segment_aad(
            suite, self._commitment, index=index, n_segments=table.n_segments, n_bytes=n_bytes
        )
        self._aead.open_in_place(suite.nonce(index), aad, tag, buffer)  # S-24, S-25

    def wipe(self) -> None:
        """Overwrite its key, when nothing is opened any more."""
        self._aead.wipe()
