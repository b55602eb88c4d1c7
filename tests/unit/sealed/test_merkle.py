from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferonnx.crypto import sha256
from inferonnx.sealed import BodyHasher, leaf_hash, root_of_leaves
from inferonnx.sealed.constants import PIECE_BYTES

EDGES = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 3 * PIECE_BYTES + 1]


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, read literally (S-11)."""
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01", by_definition(leaves[:k]), by_definition(leaves[k:]))


@given(st.integers(0, 200))
def test_root_of_leaves_is_the_definitions(n):
    leaves = [sha256(bytes([i])) for i in range(n)]
    assert root_of_leaves(leaves) == by_definition(leaves)


@pytest.mark.parametrize("n_bytes", EDGES)
@pytest.mark.parametrize("chunk", [PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 5])
def test_root_of_chunks_is_that_of_pieces(n_bytes, chunk):
    body = bytes(n_bytes)
    hasher = BodyHasher()
    for start in range(0, n_bytes, chunk):
        hasher.update(body[start : start + chunk])
    pieces = [body[i : i + PIECE_BYTES] for i in range(0, n_bytes, PIECE_BYTES)]
    assert hasher.n_bytes == n_bytes
    assert hasher.root() == by_definition([leaf_hash(piece) for piece in pieces])


def test_root_of_nothing_is_that_of_empty_chunks():
    hasher = BodyHasher()
    hasher.update(b"")
    assert hasher.root() == sha256()


@pytest.mark.parametrize("n_bytes", [1, PIECE_BYTES, PIECE_BYTES + 1])
def test_root_changes_with_length_and_content(n_bytes):
    def root(body: bytes) -> bytes:
        hasher = BodyHasher()
        hasher.update(body)
        return hasher.root()

    body = bytes(n_bytes)
    assert len({root(body), root(body + b"\0"), root(body[:-1] + b"\1"), root(body[:-1])}) == 4


def test_leaf_is_never_an_inner_node():
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != root_of_leaves([left, right])
