"""Vectors as they stand in the JSON files.

A file is written whole, or as a splice: `cut` bytes at `at` in the file of vector
`of` are replaced by `put`. That shows what was changed, and keeps the files small.
"""

from __future__ import annotations

import base64

from inferonnx.crypto import AES_256_GCM, Suite
from inferonnx.sealed import ModelPin, ReleasePin


class Vectors:
    """Collects vectors; each has one cause."""

    def __init__(self) -> None:
        self.all: list[dict[str, object]] = []
        self._bases: dict[str, tuple[str, bytes]] = {}

    def add(
        self,
        name: str,
        cause: str,
        rules: str,
        file: bytes,
        *,
        suite: Suite = AES_256_GCM,
        key: str = "owner",
        pin: ModelPin | ReleasePin | None = None,
        check: str = "ok",
        open: str = "ok",  # noqa: A002 - the member's name in the vector
        opened: int = 0,
        **more: object,
    ) -> None:
        vector: dict[str, object] = {
            "name": name,
            "cause": cause,
            "rules": rules.split(),
            "suite": suite.name,
            "key": key,
            "pin": pin_tree(pin),
            "expect": {"check": check, "open": open, "opened": opened},
            **more,
            "file": self._encode(file, suite),
        }
        if any(other["name"] == name for other in self.all):
            raise ValueError(f"two vectors are called {name}")
        self.all.append(vector)

    def _encode(self, file: bytes, suite: Suite) -> dict[str, object]:
        """Return the file whole, or as one splice into the first file of its suite."""
        if suite.name not in self._bases:
            self._bases[suite.name] = (f"good-{suite.name}", file)
            return {"whole": base64.b64encode(file).decode()}
        name, base = self._bases[suite.name]
        start = common(base, file)
        end = common(base[start:][::-1], file[start:][::-1])
        put = file[start : len(file) - end]
        if 2 * len(put) > len(file):
            return {"whole": base64.b64encode(file).decode()}
        cut = len(base) - start - end
        return {"of": name, "at": start, "cut": cut, "put": base64.b64encode(put).decode()}


def common(left: bytes, right: bytes) -> int:
    """Return how many bytes both begin with."""
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return i
    return min(len(left), len(right))


def pin_tree(pin: ModelPin | ReleasePin | None) -> dict[str, object] | None:
    match pin:
        case ModelPin(model_id=model_id):
            return {"model_id": model_id.hex()}
        case ReleasePin():
            return {
                "owner": pin.owner.hex(),
                "name": pin.name,
                "least_release": pin.least_release,
            }
    return None


def flip(data: bytes, place: int, bit: int = 0) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)
