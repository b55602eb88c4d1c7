"""What a figure says of the memory limit that it was measured under: one place for the words."""

from __future__ import annotations

from enum import Enum

from inferonnx.runtime.tee import find_tee


class Label(Enum):
    """Who held the memory limit while a figure was measured."""

    SGX = "SGX"
    CGROUP = "EPC limit enforced by cgroup"
    NONE = "no limit enforced"


def label(limit_bytes: int | None, *, root: str = "/") -> Label:
    """Return what a figure that is measured here must say.

    Args:
        limit_bytes: The limit that a cgroup enforces; None where none does.
        root: Where signs of a TEE are looked for.
    """
    tee = find_tee(root)
    if tee is not None and tee.is_library_os:  # the library OSes that we know run on SGX
        return Label.SGX
    return Label.NONE if limit_bytes is None else Label.CGROUP
