"""Bytes that lie in several places, sent as if they were one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Bytes = bytes | bytearray | memoryview


def lots(pieces: Iterable[Bytes], n_bytes: int) -> Iterator[list[memoryview]]:
    """Give the bytes of `pieces` in lots of `n_bytes` and a last one, without a copy."""
    lot: list[memoryview] = []
    room = n_bytes
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while len(view) >= room:
            lot.append(view[:room])
            yield lot
            view, lot, room = view[room:], [], n_bytes
        if view:
            lot.append(view)
            room -= len(view)
    if lot:
        yield lot
