"""Fresh copies of all that a command maps: the interpreter, libraries, extension modules.

A page of a file is charged to whoever touched it first, which for a library is some
process long ago. In a copy whose pages were dropped from memory, that is whoever runs
inside the limit. What a process reads (Python's own .pyc files) it holds in memory of
its own, which is charged anyway; the page cache behind it is the host's, as for an enclave.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from inferonnx.epc.book import own_folder
from inferonnx.errors import UnavailableError
from inferonnx.runtime.files import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_LIBRARY = re.compile(r".+\.so(\.[0-9.]+)?")
_PART = ".part"
_KEPT_S = 7 * 86_400
_PACKAGES = ("site-packages", "dist-packages")
_BATCH = 64
"""Libraries that ldd is asked about at once."""


def copied(
    scratch: str, argv: Sequence[str], env: Mapping[str, str], progress: Callable[[str], None]
) -> list[tuple[str, str]]:
    """Return pairs of file and fresh copy, for all that `argv` may map, none of it in memory.

    Copies are kept in `scratch` and made again when the file has changed.

    Raises:
        UnavailableError: No room, or `scratch` is where nothing may be executed.
    """
    folder = own_folder(os.path.join(scratch, "copies"))
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        raise UnavailableError(
            f"nothing may be executed in {scratch!r}", hint="Choose another scratch folder."
        )
    files = _files(argv, env)
    progress("finding the libraries that are mapped")
    files |= _needed(sorted(files), folder)
    pairs = []
    for i, path in enumerate(sorted(files)):
        progress(f"copying libraries: {i + 1} of {len(files)}")
        pairs.append((path, _copy(path, folder)))
    drop(copy for _, copy in pairs)
    return pairs


def tidy(scratch: str) -> None:
    """Remove copies that a kill left half, and those that nobody has used for days.

    Only for who enforces: nobody else makes copies then.
    """
    folder = os.path.join(scratch, "copies")
    oldest = time.time() - _KEPT_S
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if name.endswith(_PART) or os.path.getmtime(path) < oldest:
            os.unlink(path)


def drop(paths: Iterable[str]) -> None:
    """Take the pages of files out of memory; those that something maps stay."""
    for path in paths:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)


def warm(path: str) -> None:
    """Read a file, so that its page cache is charged to the host and not to who runs inside.

    Raises:
        UsageError, UnavailableError: It can't be read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(1 << 20):
                pass
    except OSError as error:
        raise translate(error, path, "reading") from error


def _files(argv: Sequence[str], env: Mapping[str, str]) -> set[str]:
    """Return the programs, the extension modules on Python's path, and what we map ourselves."""
    program = shutil.which(argv[0], path=env.get("PATH", os.defpath))
    found = {os.path.realpath(name) for name in (program, sys.executable) if name}
    roots = [*sys.path, *env.get("PYTHONPATH", "").split(os.pathsep)]
    for root in {os.path.realpath(root) for root in roots if root}:
        found |= set(_libraries(root))
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            words = line.rstrip("\n").split(maxsplit=5)
            if len(words) == 6 and "x" in words[1]:
                found.add(words[5])
    return {os.path.realpath(path) for path in found if _is_elf(path)}


def _libraries(root: str) -> Iterator[str]:
    """Yield the libraries below a folder of Python's path."""
    installed = os.path.basename(root) in _PACKAGES or root.startswith(
        (os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix))
    )
    for parent, folders, names in os.walk(root):
        # The base interpreter's packages lie below its library, and may be on no path. A folder
        # that just holds a script may hold anything: only packages in it are looked into.
        folders[:] = [
            name
            for name in folders
            if name not in _PACKAGES
            and (installed or os.path.exists(os.path.join(parent, name, "__init__.py")))
        ]
        yield from (os.path.join(parent, name) for name in names if _LIBRARY.fullmatch(name))


def _is_elf(path: str) -> bool:
    with suppress(OSError), open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"
    return False


def _needed(files: Sequence[str], folder: str) -> set[str]:
    """Return the libraries that these load, by what the loader itself says; kept in `folder`."""
    kept_path = os.path.join(folder, "needed.json")
    kept: dict[str, list[str]] = {}
    with suppress(OSError, ValueError), open(kept_path, encoding="utf-8") as file:
        kept = dict(json.load(file))
    keys = {path: _key(path) for path in files}
    unknown = [path for path in files if keys[path] not in kept]
    program = shutil.which("ldd")
    if unknown and program:
        for i in range(0, len(unknown), _BATCH):
            batch = unknown[i : i + _BATCH]
            words = [program, *batch]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            for path, needed in _parse_ldd(done.stdout, batch[0]).items():
                kept[_key(path)] = needed
        kept = {keys[path]: kept.get(keys[path], []) for path in files}
        with open(kept_path + _PART, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        os.rename(kept_path + _PART, kept_path)
    named = {path for key in keys.values() for path in kept.get(key, [])}
    return {os.path.realpath(path) for path in named if _is_elf(path)}


def _parse_ldd(text: str, first: str) -> dict[str, list[str]]:
    """Return the libraries of each file in ldd's answer, which names the file if there are two."""
    found: dict[str, list[str]] = {}
    path = first
    for line in text.splitlines():
        if not line.startswith("\t"):
            path = line.rstrip().removesuffix(":")
            found[path] = []
        elif match := re.search(r"(?:=> |\t)(/.+) \(0x[0-9a-f]+\)", line):
            found.setdefault(path, []).append(match[1])
    return found


def _key(path: str) -> str:
    """Return a name for the file as it is now."""
    status = os.stat(path)
    words = (path, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)
    return hashlib.sha256(repr(words).encode()).hexdigest()[:32]


def _copy(path: str, folder: str) -> str:
    """Return the copy of a file, which is made whole or not at all, and on disk."""
    target = os.path.join(folder, f"{_key(path)}-{os.path.basename(path)}")
    part = f"{target}.{os.getpid()}-{threading.get_ident()}{_PART}"
    try:
        if os.path.exists(target) and os.path.getsize(target) == os.path.getsize(path):
            os.utime(target)
            return target
        with open(path, "rb") as source, open(part, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            os.fchmod(file.fileno(), 0o755)
            file.flush()
            os.fsync(file.fileno())  # dirty pages can't be dropped
        os.rename(part, target)
    except OSError as error:
        with suppress(OSError):
            os.unlink(part)
        raise translate(error, target, "copying libraries to") from error
    return target
