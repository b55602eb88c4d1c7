"""Swap behind the limit: a zram device of our own, or a file.

Each swap space of ours carries our label and an identity of its own in its header:
nothing is taken away whose header does not say that it is ours.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import uuid
from contextlib import suppress
from dataclasses import dataclass

from inferonnx.errors import UnavailableError
from inferonnx.runtime.files import translate

LABEL = "inferonnx-epc"
"""Of the swap header; it holds 16 bytes."""

_PREFER = 0x8000 | 0x7FFF  # SWAP_FLAG_PREFER with the highest priority: before any other swap
_UUID_AT, _LABEL_AT, _MAGIC_AT = 1036, 1052, 4086  # of a page of 4 KiB, swap header version 1
_HOT_ADD = "/sys/class/zram-control/hot_add"
_HOT_REMOVE = "/sys/class/zram-control/hot_remove"

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A swap space that is on."""

    path: str
    kind: str
    n_bytes: int


def active(root: str = "/") -> list[Swap]:
    """Return the swap spaces that are on; `kind` is "zram", "file" or "partition"."""
    try:
        with open(os.path.join(root, "proc/swaps"), encoding="utf-8") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return []
    found = []
    for path, kind, size, *_rest in rows:
        name = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
        is_zram = re.fullmatch(r"/dev/zram\d+", name) is not None
        found.append(Swap(path=name, kind="zram" if is_zram else kind, n_bytes=int(size) * 1024))
    return found


def is_on(path: str) -> bool:
    """Tell whether this file or device is a swap space that is on."""
    return any(swap.path == os.path.realpath(path) for swap in active())


def header_identity(path: str) -> str | None:
    """Return the identity in the header of a swap space of ours; None where there is none."""
    try:
        with open(path, "rb") as file:
            page = file.read(4096)
    except OSError:
        return None
    label = page[_LABEL_AT : _LABEL_AT + 16].rstrip(b"\0")
    if page[_MAGIC_AT:] != b"SWAPSPACE2" or label != LABEL.encode():
        return None
    return page[_UUID_AT : _UUID_AT + 16].hex()


def is_blank(path: str) -> bool:
    """Tell whether a device or file begins with nothing at all."""
    try:
        with open(path, "rb") as file:
            return not any(file.read(4096))
    except OSError:
        return False


def turn_on(path: str, identity: str) -> None:
    """Make a swap space of a device or file, and use it before any other.

    Raises:
        UnavailableError: There is no mkswap, or the kernel refuses.
    """
    program = shutil.which("mkswap", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise UnavailableError("there is no mkswap here", hint="Install util-linux.")
    words = [program, "-q", "-L", LABEL, "-U", str(uuid.UUID(hex=identity)), path]
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"mkswap failed on {path!r}", hint="Look after the disk.")
    if _libc.swapon(os.fsencode(path), _PREFER) != 0:
        number = ctypes.get_errno()
        raise UnavailableError(
            f"the kernel takes no swap on {path!r}: {os.strerror(number)}",
            hint="Choose a scratch folder on another file system, such as ext4 or xfs.",
        )


def turn_off(path: str) -> None:
    """Stop using a swap space.

    Raises:
        OSError: What is in it does not fit into memory, or no right to.
    """
    if _libc.swapoff(os.fsencode(path)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def add_zram() -> tuple[int, bool] | None:
    """Return a zram device that nobody uses and whether it was added for us; None without zram."""
    with suppress(OSError, ValueError), open(_HOT_ADD, encoding="ascii") as file:
        return int(file.read()), True
    names = os.listdir("/sys/block") if os.path.isdir("/sys/block") else []
    for name in sorted(names):
        if re.fullmatch(r"zram\d+", name) and _zram(int(name[4:]), "initstate") == "0":
            return int(name[4:]), False
    return None


def zram_path(number: int) -> str:
    """Return the device's node."""
    return f"/dev/zram{number}"


def size_zram(number: int, n_bytes: int) -> None:
    """Give a zram device its size; it takes memory only for what is in it.

    Raises:
        OSError: Another took it meanwhile.
    """
    with open(f"/sys/block/zram{number}/disksize", "w", encoding="ascii") as file:
        file.write(str(n_bytes))


def is_zram_of(number: int, n_bytes: int, identity: str) -> bool:
    """Tell whether a device is as we left it: our size, and our header or none yet."""
    path = zram_path(number)
    if _zram(number, "disksize") != str(n_bytes):
        return False
    return header_identity(path) == identity or (not is_on(path) and is_blank(path))


def drop_zram(number: int, *, added: bool) -> None:
    """Empty a device that is no longer swapped to, and take it away if it was added.

    Raises:
        OSError: Something holds it.
    """
    with open(f"/sys/block/zram{number}/reset", "w", encoding="ascii") as file:
        file.write("1")
    if added:
        with open(_HOT_REMOVE, "w", encoding="ascii") as file:
            file.write(str(number))


def is_zram_unused(number: int) -> bool:
    """Tell whether a device is there and has no size."""
    return _zram(number, "disksize") == "0"


def make_file(path: str, n_bytes: int) -> None:
    """Make a file of that size for swap, without holes.

    Raises:
        UnavailableError: No room, or no right to.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, n_bytes)
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise translate(error, path, "making the swap file") from error


def _zram(number: int, name: str) -> str:
    try:
        with open(f"/sys/block/zram{number}/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
