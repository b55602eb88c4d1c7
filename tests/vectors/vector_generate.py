"""Make the test vectors of the sealed file and of owners' requests: one cause each.

python tests/vectors/vector_generate.py        # writes the JSON files beside it
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

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

from inferonnx.crypto import SUITES, Suite
from inferonnx.sealed import encode_owner_key, root_of_leaves
from inferonnx.sealed.constants import PIECE_BYTES
from inferonnx.sealed.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

HERE = Path(__file__).parent
WARNING = "TEST KEYS: derived from public text. Never use them for anything else."


def sealed_vectors(suites: Iterable[Suite]) -> list[dict[str, object]]:
    vectors = Vectors()
    for suite in suites:
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


def all_files(suites: Iterable[Suite] = SUITES.values()) -> dict[str, str]:
    """Return the text of each file of vectors, by its name; sealed files of `suites` only."""
    trees = {
        "sealed.json": {
            "warning": WARNING,
            "keys": {name: encode_owner_key(key).decode() for name, key in KEYS.items()},
            "vectors": sealed_vectors(suites),
        },
        "keys.json": {"warning": WARNING, **key_vectors()},
        "merkle.json": {"vectors": merkle_vectors()},
        "owner-requests.json": {"warning": WARNING, "vectors": owner_request_vectors()},
    }
    return {name: as_text(tree) for name, tree in trees.items()}


def as_text(tree: dict[str, object]) -> str:
    return json.dumps(tree, indent=1, ensure_ascii=True) + "\n"


def only_of(names: Collection[str], text: str) -> str:
    """Return the text of a file of vectors without the sealed files of other suites."""
    if set(names) == set(SUITES):
        return text
    tree = json.loads(text)
    if "vectors" in tree:
        # A root or a key's vector has no suite that it would need.
        tree["vectors"] = [v for v in tree["vectors"] if v.get("suite") in {None, *names}]
    return as_text(tree)


if __name__ == "__main__":
    for file_name, text in all_files().items():
        (HERE / file_name).write_text(text, encoding="ascii")
        sys.stdout.write(f"{file_name}: {len(text)} bytes\n")
