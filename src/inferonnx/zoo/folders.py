"""Folders that are made on the way, and taken away again if what was for them fails."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from inferonnx.errors import UsageError
from inferonnx.runtime.files import translate

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def made_folder(path: str) -> Iterator[str]:
    """Make the folders down to `path`; on any error remove those that were new.

    Raises:
        UsageError: Something on the way is a file.
        UnavailableError: The system refuses.
    """
    new = []
    parent = os.path.abspath(path)
    while not os.path.isdir(parent):
        if os.path.lexists(parent):
            raise UsageError(f"{parent!r} is not a folder")
        new.append(parent)
        parent = os.path.dirname(parent)
    try:
        for folder in reversed(new):
            _make(folder)
        yield path
    except BaseException:
        for folder in new:
            _remove_empty(folder)
        raise


def _make(folder: str) -> None:
    """Make one folder; somebody else may have made it just now."""
    try:
        os.mkdir(folder)
    except OSError as error:
        if not os.path.isdir(folder):
            raise translate(error, folder, "making the folder") from error


def _remove_empty(folder: str) -> None:
    """Remove a folder that we made; one that somebody else has used meanwhile stays."""
    try:
        os.rmdir(folder)
    except OSError:
        return
