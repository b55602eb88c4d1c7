"""What the repository knows of a sealed file on disk: its public header, verified."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """One version of a model on disk.

    Attributes:
        name: Of its folder; what clients call it.
        version: Of its folder.
        path: The sealed file.
        owner: Ed25519 public key that signed it; empty where the file can't be read.
        model_id: Identity of the sealed model; empty where the file can't be read.
        release: The owner's count, 0 when not numbered.
        suite: Name of its AEAD suite.
        file_bytes: Size.
        problem: Why it can't be served, one sentence; empty when it can.
    """

    name: str
    version: int
    path: str
    owner: bytes = b""
    model_id: bytes = b""
    release: int = 0
    suite: str = ""
    file_bytes: int = 0
    problem: str = ""
