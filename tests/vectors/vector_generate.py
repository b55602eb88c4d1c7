"""Make the test vectors of the sealed file and of owners' requests: one cause each.

python tests/vectors/vector_generate.py        # writes the JSON files beside it
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from key_vectors import key_vectors
from manifest_vectors import manifests
from owner_request_vectors import owner_request_vectors
from sealed_vectors import (
    flipped,
    good,
    headers,
    identities,
    moved,
    pins,
    second_ciphertext,
)
from vector_collect import Vectors
from vector_forge import KEYS

from inferonnx.crypto import AEGIS_256X2, AES_256_GCM
from inferonnx.sealed import encode_owner_key, root_of_leaves
from inferonnx.sealed.constants import PIECE_BYTES
from inferonnx.sealed.merkle import leaf_hash

HERE = Path(__file__).parent
WARNING = "TEST KEYS: derived from public text. Never use them for anything else."


def sealed_vectors() -> list[dict[str, object]]:
    vectors = Vectors()
    for suite in (AES_256_GCM, AEGIS_256X2):
        good(vectors, suite)
        flipped(vectors, suite)
        moved(vectors, suite)
        identities(vectors, suite)
    headers(vectors)
    pins(vectors)
    second_ciphertext(vectors)
    manifests(vectors)
    return vectors.all


def pattern(n_bytes: int) -> bytes:
    """Return the body of the roots' vectors: byte k is k mod 251."""
    return (bytes(range(251)) * (n_bytes // 251 + 1))[:n_bytes]


def merkle_vectors() -> list[dict[str, object]]:
    mib = PIECE_BYTES
    sizes = [1, mib - 1, mib, mib + 1, 2 * mib, 2 * mib + 1, 3 * mib, 4 * mib, 5 * mib + 7, 7 * mib]
    rows = []
    for size in sizes:
        body = pattern(size)
        leaves = (leaf_hash(body[i : i + mib]) for i in range(0, size, mib))
        rows.append({"n_bytes": size, "rules": ["S-11"], "root": root_of_leaves(leaves).hex()})
    return rows


def all_files() -> dict[str, str]:
    """Return the text of each file of vectors, by its name."""
    trees = {
        "sealed.json": {
            "warning": WARNING,
            "keys": {name: encode_owner_key(key).decode() for name, key in KEYS.items()},
            "vectors": sealed_vectors(),
        },
        "keys.json": {"warning": WARNING, **key_vectors()},
        "merkle.json": {"vectors": merkle_vectors()},
        "owner-requests.json": {"warning": WARNING, "vectors": owner_request_vectors()},
    }
    return {
        name: json.dumps(tree, indent=1, ensure_ascii=True) + "\n" for name, tree in trees.items()
    }


if __name__ == "__main__":
    for file_name, text in all_files().items():
        (HERE / file_name).write_text(text, encoding="ascii")
        sys.stdout.write(f"{file_name}: {len(text)} bytes\n")
