"""The folders of names in a repository, and whose each name is: the file `owner` in it.

A name belongs to the owner who brought its first model, for ever. All of this blocks;
`server.repository` says who may change what at a time.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from inferonnx.crypto import SHA256_BYTES
from inferonnx.errors import UnavailableError
from inferonnx.runtime.folders import (
    is_there,
    make_folder,
    open_folder,
    read_small,
    remove_tree,
    write_whole,
)
from inferonnx.server.disk import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER_FILE = "owner"

_OWNER = re.compile(rb"([0-9a-f]{%d})\s*" % (2 * SHA256_BYTES))
_MAX_OWNER_FILE_BYTES = 128


class Homes:
    """The folders of names; it owns none of the descriptors that it is given."""

    def __init__(self, root: int, incoming: int) -> None:
        """Look after the folders in `root`; new ones are made in `incoming` first."""
        self._root, self._incoming = root, incoming

    @contextmanager
    def opened(self, name: str, *, follow: bool = False) -> Iterator[int | None]:
        """Open the folder of a name; None where there is none.

        Raises:
            UnavailableError: There is something else: a file, or a link that leads away.
        """
        with disk_errors(f"opening the folder of model '{name}'"):
            try:
                home = open_folder(name, at=self._root, follow=follow)
            except FileNotFoundError:
                home = None
            except NotADirectoryError as error:
                raise UnavailableError(
                    f"what has the name '{name}' in the folder of models is no folder",
                    hint="The host put a file or a link there.",
                ) from error
        try:
            yield home
        finally:
            if home is not None:
                os.close(home)

    def make(self, name: str, owner: bytes) -> bool:
        """Make the folder of a name, its owner in it, if it is not there; tell whether it was."""
        content = owner.hex().encode() + b"\n"
        with self.opened(name) as home:
            if home is not None:
                if not is_there(OWNER_FILE, at=home):
                    write_whole(OWNER_FILE, content, at=home, through=self._incoming)
                return False
        temporary = f".{os.urandom(8).hex()}.home"
        try:
            folder = make_folder(temporary, at=self._incoming)
            try:
                write_whole(OWNER_FILE, content, at=folder, through=folder)
            finally:
                os.close(folder)
            os.rename(temporary, name, src_dir_fd=self._incoming, dst_dir_fd=self._root)
        except OSError:
            remove_tree(temporary, at=self._incoming)
            raise
        os.fsync(self._root)
        return True

    def unmake(self, name: str, home: int) -> None:
        """Remove the folder of a name that was just made and has got no version."""
        with suppress(OSError):
            os.unlink(OWNER_FILE, dir_fd=home)
            os.rmdir(name, dir_fd=self._root)


def written_owner(name: str, home: int) -> bytes | None:
    """Return the owner in the file of a name, None where there is no such file.

    Raises:
        UnavailableError: It is damaged.
    """
    try:
        content = read_small(OWNER_FILE, at=home, limit_bytes=_MAX_OWNER_FILE_BYTES)
        match = _OWNER.fullmatch(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        match = None
    if match is None:
        raise UnavailableError(
            f"the file {OWNER_FILE!r} of model '{name}' is damaged",
            hint="It holds the owner's public key, 64 hexadecimal digits.",
        )
    return bytes.fromhex(match[1].decode())
