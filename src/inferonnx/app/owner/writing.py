"""From a plan to a sealed file on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferonnx.crypto import Secret
from inferonnx.runtime.whole_files import whole_file
from inferonnx.sealed import HEADER_BYTES, Manifest, Partition, SealWriter, lay_out_weights
from inferonnx.sealed.constants import DATA_KEY_BYTES, WRAP_SALT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from inferonnx.crypto import Suite
    from inferonnx.model import Prepared
    from inferonnx.plan import Plan, PlannedPartition
    from inferonnx.sealed import OwnerKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SealDraft:
    """A plan with its skeletons made and its weights laid out: what would be sealed.

    Attributes:
        prepared: Gives the weights.
        plan: The cuts.
        partitions: As the manifest will hold them, times as measured one by one.
    """

    prepared: Prepared
    plan: Plan
    partitions: tuple[Partition, ...]

    @classmethod
    def of(cls, prepared: Prepared, plan: Plan) -> SealDraft:
        """Make the skeletons of `plan`."""
        return cls(
            prepared=prepared,
            plan=plan,
            partitions=tuple(_partition(prepared, part) for part in plan.partitions),
        )


def write_sealed(
    path: str,
    draft: SealDraft,
    manifest: Manifest,
    *,
    key: OwnerKey,
    suite: Suite,
    release: int,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> bytes:
    """Write the sealed file at `path`, whole or not at all, and return its model id.

    An existing file is replaced only once the new one is complete. Arguments as for
    `seal_into`.

    Raises:
        UnavailableError: The disk is full.
    """
    with whole_file(path) as file:
        return seal_into(
            file, draft, manifest, key=key, suite=suite, release=release, progress=progress
        )


def seal_into(
    file: BinaryIO,
    draft: SealDraft,
    manifest: Manifest,
    *,
    key: OwnerKey,
    suite: Suite,
    release: int,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> bytes:
    """Write a sealed model into an empty file that can seek, and return its model id.

    Args:
        file: Open for writing.
        draft: Gives the weights.
        manifest: Everything else; its partitions are the draft's.
        key: Wraps and signs.
        suite: AEAD.
        release: 0 and up.
        progress: Told bytes sealed so far and in all.
    """
    blocks = [partition.block_bytes for partition in draft.partitions]
    writer = SealWriter(
        key=key,
        suite=suite,
        release=release,
        block_bytes=blocks,
        data_key=Secret(os.urandom(DATA_KEY_BYTES)),
        wrap_salt=os.urandom(WRAP_SALT_BYTES),
    )
    file.write(bytes(HEADER_BYTES))
    _write_segments(file, draft, writer, progress)
    end = writer.finish(manifest)
    file.write(end.manifest)
    file.seek(0)
    file.write(end.header)
    return end.model_id


def _write_segments(
    file: BinaryIO, draft: SealDraft, writer: SealWriter, progress: Callable[[int, int], None]
) -> None:
    done, total = 0, sum(partition.block_bytes for partition in draft.partitions)
    for number, partition in enumerate(draft.partitions):
        pieces = _Pieces(_block_pieces(draft.prepared, partition))
        for index in writer.table.block_segments(number):
            segment = bytearray(writer.table.length(index))
            pieces.fill(memoryview(segment))
            writer.seal_segment(memoryview(segment))
            file.write(segment)
            done += len(segment)
            progress(done, total)


def _block_pieces(prepared: Prepared, partition: Partition) -> Iterator[memoryview]:
    """Yield the block's bytes in pieces: weights, and the zeros between them."""
    place = 0
    for weight in partition.weights:
        if weight.offset > place:
            yield memoryview(bytes(weight.offset - place))
        yield memoryview(prepared.weight(weight.name)[2]).cast("B")
        place = weight.offset + weight.n_bytes
    if partition.block_bytes > place:
        yield memoryview(bytes(partition.block_bytes - place))


class _Pieces:
    """A run of byte pieces that is read in whatever lengths are wanted."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def fill(self, view: memoryview) -> None:
        place = 0
        while place < len(view):
            if not self._rest:
                self._rest = next(self._pieces)
            part = self._rest[: len(view) - place]
            view[place : place + len(part)] = part
            self._rest = self._rest[len(part) :]
            place += len(part)


def _partition(prepared: Prepared, part: PlannedPartition) -> Partition:
    skeleton = prepared.skeleton(part.start, part.stop)
    return Partition(
        inputs=skeleton.inputs,
        outputs=skeleton.outputs,
        weights=lay_out_weights(
            (name, dtype, shape)
            for name in skeleton.weights
            for dtype, shape, _ in (prepared.weight(name),)
        ),
        skeleton=skeleton.model,
        n_nodes=part.stop - part.start,
        activation_bytes=part.activation_bytes,
        time_us=round(part.time_s * 1e6),
    )
