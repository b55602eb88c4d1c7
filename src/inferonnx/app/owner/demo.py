"""What the demo shows: a file's type told by a sealed model, and a forged copy of the model."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from inferonnx.errors import TensorError
from inferonnx.sealed import HEADER_BYTES, parse_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MAGIKA_WINDOW = 1024
"""Magika looks at so many bytes at the beginning and at the end of a file."""

MAGIKA_PADDING = 256
"""Stands where a file has no more bytes: no byte has this value."""


@contextmanager
def npz_in_memory(name: Path, arrays: Mapping[str, NDArray[Any]]) -> Iterator[None]:
    """Make `name` lead to an .npz file that lies in memory alone, as long as the context lasts.

    Args:
        name: A new link; child processes open it like any file.
        arrays: What the file holds.
    """
    with os.fdopen(os.memfd_create("npz"), "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names of its own keyword arguments
        file.flush()
        name.symlink_to(f"/proc/{os.getpid()}/fd/{file.fileno()}")
        try:
            yield
        finally:
            name.unlink()


def magika_input(content: bytes) -> NDArray[np.int32]:
    """Return what Magika reads of a file.

    Args:
        content: The file, not empty.

    Returns:
        int32 (1, 2048): the first 1024 bytes without leading white space, padded at
        the end, then the last 1024 without trailing white space, padded in front
        (magika 1.0, standard_v3_3).

    Raises:
        TensorError: The file is empty.
    """
    if not content.strip():
        raise TensorError("the file is empty", hint="Choose a file with something in it.")
    head = content[: 2 * MAGIKA_WINDOW].lstrip()[:MAGIKA_WINDOW]
    tail = content[-2 * MAGIKA_WINDOW :].rstrip()[-MAGIKA_WINDOW:]
    window = np.full((1, 2 * MAGIKA_WINDOW), MAGIKA_PADDING, np.int32)
    window[0, : len(head)] = np.frombuffer(head, np.uint8)
    window[0, 2 * MAGIKA_WINDOW - len(tail) :] = np.frombuffer(tail, np.uint8)
    return window


def magika_answer(scores: NDArray[np.float32], config: Path) -> tuple[str, float]:
    """Return the type that Magika's output names, and its score.

    Args:
        scores: float32 (1, 214).
        config: Magika's configuration, which lists the types.
    """
    settings: dict[str, Any] = json.loads(config.read_text())
    best = int(scores[0].argmax())
    return str(settings["target_labels_space"][best]), float(scores[0, best])


def forge(sealed: Path, copy: Path) -> int:
    """Copy a sealed file with one bit of its encrypted weights changed.

    Returns:
        The offset of the byte: the middle one of all weights.
    """
    shutil.copyfile(sealed, copy)
    with copy.open("r+b") as file:
        header = parse_header(file.read(HEADER_BYTES))
        offset = (HEADER_BYTES + header.manifest_offset(copy.stat().st_size)) // 2
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
    return offset
