"""Chains on disk: cut, gone on with after an interrupt, made anew, and removed.

1. A file of ours is one that the index or the journal lists with its SHA-256. Nothing
   else in a folder is ever replaced or removed.
2. The journal gets a line before a file appears, so whatever a kill leaves is listed.
3. While there is a journal there is no index: the index is written last.
4. A file that is there already, as it would be written, is not written again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from inferonnx.errors import ModelError, UnavailableError, UsageError
from inferonnx.model.chain.building import build_part
from inferonnx.model.chain.index import INDEX, Chain, Link, encode_index, read_index
from inferonnx.model.chain.original import Original, check_cuts, file_sha256, read_original
from inferonnx.model.chain.types import infer_value_types
from inferonnx.runtime.files import read_file, translate
from inferonnx.runtime.whole_files import whole_file
from inferonnx.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Progress = Callable[[str], None]

JOURNAL = "index.unfinished"

_JOURNAL_HEAD = b"inferonnx.partitions/1, unfinished\n"
_JOURNAL_LIMIT_BYTES = 1 << 28


class Removed(NamedTuple):
    """What came of removing a chain.

    Attributes:
        n_files: Files that were removed.
        kept: Files in the folder that are not, or no longer, as we made them.
    """

    n_files: int
    kept: tuple[str, ...]


def cut_chain(
    model: str | os.PathLike[str] | Original,
    folder: str | os.PathLike[str],
    cuts: Sequence[int],
    *,
    prefix: str,
    strategy: str,
    limit_bytes: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = lambda _: None,
) -> Chain:
    """Cut a model's original graph into plain ONNX files, and write their index last.

    Args:
        model: Path of the ONNX file, or what `read_original` made of it, types known.
        folder: Where to; made if it is not there.
        cuts: Operators at which a new file begins, ascending, each in 1..n-1.
        prefix: Of the files' names; a number and ".onnx" follow.
        strategy: Kept in the index.
        limit_bytes: Kept in the index.
        options: Kept in the index: what else the cuts depend on.
        progress: Told what is written; may raise to interrupt.

    Raises:
        UsageError: A cut that can't be; a file in the folder that we have not made.
        ModelError: The model is invalid.
        UnavailableError: The disk is full or refuses. What was written is gone on with.
    """
    original = model if isinstance(model, Original) else _typed(os.fspath(model))
    folder = os.fspath(folder)
    check_cuts(original, tuple(cuts))
    bounds = list(zip((0, *cuts), (*cuts, len(original.operators)), strict=True))
    if not original.operators and not original.constant_outputs:
        bounds = []
    names = [f"{prefix}{number}.onnx" for number in range(len(bounds))]
    make_folder(folder)
    made = _made_in(folder)
    _refuse_others(folder, {*names, *(f"{name}.data" for name in names)}, made)
    _check_room(original, folder, made)
    try:
        with _Journal(folder, made) as journal:
            remove_files(folder, {name: made[name] for name in made.keys() - set(names)})
            links = []
            for number, (name, bound) in enumerate(zip(names, bounds, strict=True), 1):
                progress(f"writing file {number} of {len(names)}")
                links.append(_write(original, name, bound, journal))
    except OSError as error:
        raise translate(error, folder, "writing to") from error
    chain = _chain(original, folder, links, (strategy, limit_bytes, options or {}))
    with whole_file(os.path.join(folder, INDEX)) as file:
        file.write(encode_index(chain))
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, JOURNAL))
    return chain


def is_unmade(folder: str) -> bool:
    """Tell whether a folder is missing, empty or was interrupted: `cut_chain` makes it, or goes on.

    One that has files, and neither an index nor a journal, is someone else's.
    """
    if not os.path.isdir(folder):
        return not os.path.lexists(folder)
    has = os.listdir(folder)
    return not has or JOURNAL in has


def remove_chain(folder: str) -> Removed:
    """Remove the files that index and journal list, and the folder if that empties it.

    Raises:
        ModelError: The index is none of ours.
        UnavailableError: The disk refuses.
    """
    made = _made_in(folder)
    try:
        n_files = remove_files(folder, made)
        for name in (INDEX, JOURNAL):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))
                n_files += 1
        kept = tuple(sorted(os.listdir(folder)))
        if n_files and not kept:
            os.rmdir(folder)
    except OSError as error:
        raise translate(error, folder, "removing files in") from error
    return Removed(n_files, kept)


def remove_files(folder: str, files: Mapping[str, set[str]]) -> int:
    """Remove those files that still have one of the SHA-256s given; return how many."""
    n_files = 0
    for name, known in files.items():
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not os.path.islink(path) and file_sha256(path) in known:
            os.unlink(path)
            n_files += 1
    return n_files


def _typed(path: str) -> Original:
    original = read_original(path)
    infer_value_types(original)
    return original


def _chain(
    original: Original,
    folder: str,
    links: Sequence[Link],
    found: tuple[str, int | None, Mapping[str, Any]],
) -> Chain:
    strategy, limit_bytes, options = found
    return Chain(
        folder=folder,
        model=os.path.basename(original.path),
        model_sha256=original.sha256,
        model_data=original.data_sha256,
        model_bytes=original.n_bytes,
        strategy=strategy,
        limit_bytes=limit_bytes,
        inputs=tuple(value.name for value in original.inputs),
        outputs=tuple(value.name for value in original.outputs),
        links=tuple(links),
        options=options,
    )


def _write(original: Original, name: str, bounds: tuple[int, int], journal: _Journal) -> Link:
    """Write one file of the chain, and its file of weights if it needs one."""
    start, stop = bounds
    edge = original.edge(start, stop)
    part = build_part(original, start, stop, edge=edge, data_name=f"{name}.data")
    data = (f"{name}.data", journal.write(f"{name}.data", part.data)) if part.data else None
    return Link(
        file=name,
        start=start,
        stop=stop,
        inputs=edge.inputs,
        outputs=edge.outputs,
        sha256=journal.write(name, [part.model]),
        data=data,
    )


class _Journal:
    """The list of files that are ours while a folder is not whole; takes the index's place."""

    def __init__(self, folder: str, made: Mapping[str, set[str]]) -> None:
        self._folder = folder
        self._made = made

    def __enter__(self) -> Self:
        path = os.path.join(self._folder, JOURNAL)
        with whole_file(path) as file:
            file.write(_JOURNAL_HEAD)
            for name, known in self._made.items():
                for sha256 in known:
                    file.write(_line(name, sha256))
        self._file = open(path, "ab", buffering=0)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._folder, INDEX))
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, name: str, pieces: Iterable[bytes | memoryview]) -> str:
        """Write a file whole, unless it is there as it would be; return its SHA-256."""
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        sha256 = digest.hexdigest()
        path = os.path.join(self._folder, name)
        known = self._made.get(name, ())
        if sha256 in known and os.path.exists(path) and file_sha256(path) == sha256:
            return sha256
        self._file.write(_line(name, sha256))
        with whole_file(path) as file:
            file.writelines(pieces)
        return sha256


def _line(name: str, sha256: str) -> bytes:
    return json.dumps([name, sha256]).encode() + b"\n"


def _made_in(folder: str) -> dict[str, set[str]]:
    """Return the SHA-256s that files of ours in the folder may have, by name."""
    made: dict[str, set[str]] = {}
    chain = read_index(folder)
    for name, sha256 in chain.files.items() if chain else ():
        made.setdefault(name, set()).add(sha256)
    for name, sha256 in _journal_entries(os.path.join(folder, JOURNAL)):
        made.setdefault(name, set()).add(sha256)
    return made


def _journal_entries(path: str) -> Iterator[tuple[str, str]]:
    """Yield the files that a journal lists; the line that a kill cut short is left out.

    Raises:
        ModelError: It is none of ours.
    """
    if not os.path.lexists(path):
        return
    head, *lines = read_file(path, limit_bytes=_JOURNAL_LIMIT_BYTES).splitlines(keepends=True) or [
        b""
    ]
    try:
        if head != _JOURNAL_HEAD:
            raise ValueError("another head")
        for line in lines:
            if line.endswith(b"\n"):
                name, sha256 = json.loads(line)
                if os.path.basename(name) != name:
                    raise ValueError("a path")
                yield name, sha256
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"{path!r} is no journal of partitions",
            where=path,
            hint="Move it away, or choose another folder; nothing was changed.",
        ) from error


def _refuse_others(folder: str, names: set[str], made: Mapping[str, set[str]]) -> None:
    """Refuse to replace a file that we have not made, or that somebody has changed since."""
    for name in sorted(names):
        path = os.path.join(folder, name)
        if not os.path.lexists(path):
            continue
        if not os.path.isfile(path) or os.path.islink(path) or name not in made:
            what = "is none of the files that were cut here"
        elif file_sha256(path) not in made[name]:
            what = "has changed since it was cut"
        else:
            continue
        raise UsageError(
            f"{path!r} {what}",
            where=path,
            hint="Move it away, or choose another folder; nothing was changed.",
        )


def _check_room(original: Original, folder: str, made: Mapping[str, set[str]]) -> None:
    """Refuse to begin where the files can't fit."""
    there = [os.path.join(folder, name) for name in made]
    held = sum(os.path.getsize(path) for path in there if os.path.isfile(path))
    free = shutil.disk_usage(folder).free
    if original.n_bytes > free + held:
        raise UnavailableError(
            f"the files take about {format_size(original.n_bytes)}, and {folder!r} has "
            f"{format_size(free)} free",
            where=folder,
            hint="Free some disk space and try again.",
        )


def make_folder(folder: str) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        UsageError: Something else is in its place.
        UnavailableError: The system refuses.
    """
    try:
        os.makedirs(folder, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder!r} is no folder", hint="Choose another name.") from error
    except OSError as error:
        raise translate(error, folder, "making the folder") from error
