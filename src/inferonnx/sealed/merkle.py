"""The Merkle tree over what follows the header (S-11): SHA-256, RFC 9162, section 2.1.1.

Leaves are pieces of `PIECE_BYTES`; the last one may be shorter. Leaves and inner
nodes are hashed under different first bytes, so the root fixes every byte, their
number and their order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.crypto import Sha256, sha256
from inferonnx.sealed.constants import LABEL_LEAF, LABEL_NODE, PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable


def leaf_hash(piece: bytes | bytearray | memoryview) -> bytes:
    """Return the leaf over one piece; may run on any thread."""
    return sha256(LABEL_LEAF, piece)


def root_of_leaves(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes, in order; of none, SHA-256 of nothing."""
    tree = _Tree()
    for leaf in leaves:
        tree.push(leaf)
    return tree.root()


class BodyHasher:
    """Computes the root of bytes that come in order, in chunks of any size."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._tree = _Tree()
        self._leaf = Sha256(LABEL_LEAF)
        self._filled = 0
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        """Bytes taken so far."""
        return self._n_bytes

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Append `chunk`."""
        view = memoryview(chunk)
        self._n_bytes += len(view)
        while view:
            part, view = (
                view[: PIECE_BYTES - self._filled],
                view[PIECE_BYTES - self._filled :],
            )
            self._leaf.update(part)
            self._filled += len(part)
            if self._filled == PIECE_BYTES:
                self._end_leaf()

    def root(self) -> bytes:
        """Return the root; nothing can be appended afterwards."""
        if self._filled:
            self._end_leaf()
        return self._tree.root()

    def _end_leaf(self) -> None:
        self._tree.push(self._leaf.digest())
        self._leaf = Sha256(LABEL_LEAF)
        self._filled = 0


class _Tree:
    """Roots of the full subtrees so far, largest first: one for each bit of the leaf count."""

    def __init__(self) -> None:
        self._roots: list[bytes] = []
        self._n_leaves = 0

    def push(self, leaf: bytes) -> None:
        self._roots.append(leaf)
        self._n_leaves += 1
        count = self._n_leaves
        while not count & 1:
            self._merge()
            count >>= 1

    def root(self) -> bytes:
        if not self._roots:
            return sha256()
        while len(self._roots) > 1:
            self._merge()
        return self._roots[0]

    def _merge(self) -> None:
        right = self._roots.pop()
        self._roots[-1] = sha256(LABEL_NODE, self._roots[-1], right)
