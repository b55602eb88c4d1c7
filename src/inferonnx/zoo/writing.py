"""Writes a model's folder, and recognises what already stands there.

A file appears whole or not at all. Three kinds of file may already be in its
place: a published one, trained, which is worth more than ours and is kept; one
of ours with the same numbers, which is kept too; and anything else, which is
somebody's and is not touched unless that is asked for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO

from inferonnx.errors import UsageError
from inferonnx.runtime.files import is_full, translate
from inferonnx.runtime.whole_files import whole_file
from inferonnx.zoo.catalogue import MODELS, Published, ZooModel
from inferonnx.zoo.folders import made_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inferonnx.zoo.graphs import Blueprint

DEFAULT_SEED = 2026

# Called with bytes done and bytes in all, at most some hundred times a model.
Progress = Callable[[int, int], None]

_READ_BYTES = 1 << 20


class Outcome(Enum):
    """What became of a model's file."""

    BUILT = "built"
    KEPT = "kept"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A model's file and where it came from.

    Attributes:
        name: Name of the model.
        path: The .onnx file.
        outcome: BUILT now; KEPT from an earlier build; PUBLISHED: a real file was found.
        n_bytes: Size of the file.
        source: For a published file, who publishes it; otherwise empty.
    """

    name: str
    path: str
    outcome: Outcome
    n_bytes: int
    source: str = ""


def zoo_model(name: str) -> ZooModel:
    """Return the table's row for `name`; UsageError if there is none."""
    try:
        return MODELS[name]
    except KeyError:
        known = ", ".join(MODELS)
        raise UsageError(f"the zoo has no model {name!r}", hint=f"It has {known}.") from None


def blueprint(name: str) -> Blueprint:
    """Return a model's graph with the shapes of its weights, but not one number drawn."""
    from inferonnx.zoo.families import BLUEPRINTS

    return BLUEPRINTS[zoo_model(name).name]()


def sample_inputs(name: str, seed: int | None = None) -> dict[str, NDArray[Any]]:
    """Return the arrays of a model's test data set by graph input.

    Args:
        name: A name of the table.
        seed: Gives other arrays of the same kind; None: those of the files.
    """
    from inferonnx.zoo.samples import SEED, sample_arrays

    return sample_arrays(zoo_model(name), SEED if seed is None else seed)


def metadata(seed: int) -> dict[str, str]:
    """Return the entry that tells everybody that a file's weights were never trained."""
    from inferonnx.zoo.graphs import METADATA_KEY
    from inferonnx.zoo.weights import GENERATOR_VERSION

    return {
        METADATA_KEY: f"synthetic: seeded random numbers, not trained "
        f"(inferonnx zoo, seed {seed}, generator {GENERATOR_VERSION})"
    }


def build(
    name: str,
    folder: str,
    *,
    seed: int = DEFAULT_SEED,
    force: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Write `<folder>/<name>/<name>.onnx` and its `test_data_set_0`, or keep what is there.

    Args:
        name: A name of the table.
        folder: Folder of all models; made if it does not exist.
        seed: Seed of the weights.
        force: Replace a file that is neither published nor the one that would be built.
        progress: Told how many bytes are written.

    Returns:
        What the file is now.

    Raises:
        UsageError: There is no such model, or an unknown file stands in its place.
        UnavailableError: The disk is full or refuses. Nothing new is left behind.
    """
    model = zoo_model(name)
    path = os.path.join(folder, name, f"{name}.onnx")
    plan = blueprint(name)
    n_bytes = plan.size_bytes(metadata(seed))
    with made_folder(os.path.join(folder, name, "test_data_set_0")) as samples:
        found = _recognise(model, path, plan, seed)
        if found is None and os.path.lexists(path) and not force:
            raise UsageError(
                f"{path!r} exists and is neither published nor ours with seed {seed}",
                hint="Move it away, choose another folder, or replace it with --force.",
            )
        with _samples(model, samples):
            if found is not None:
                return found
            with whole_file(path) as file:
                _reserve(file, n_bytes, path)
                _write_model(plan, seed, file, progress)
    return Built(name=name, path=path, outcome=Outcome.BUILT, n_bytes=n_bytes)


def _recognise(model: ZooModel, path: str, plan: Blueprint, seed: int) -> Built | None:
    """Return what an existing file is; None if there is none or it is unknown."""
    try:
        size = os.path.getsize(path) if os.path.isfile(path) else -1
        if size == plan.size_bytes(metadata(seed)) and _is_ours(path, plan, seed):
            return Built(name=model.name, path=path, outcome=Outcome.KEPT, n_bytes=size)
        candidates = [published for published in model.published if published.n_bytes == size]
        real = _published(candidates, path, size) if candidates else None
    except OSError as error:
        raise translate(error, path, "reading") from error
    if real is None:
        return None
    return Built(
        name=model.name, path=path, outcome=Outcome.PUBLISHED, n_bytes=size, source=real.source
    )


def _is_ours(path: str, plan: Blueprint, seed: int) -> bool:
    """Return whether a file begins with our graph and ends with our metadata, seed included.

    The weights between follow from both: files of ours appear whole.
    """
    head, tail = plan.head(), plan.tail(metadata(seed))
    with open(path, "rb") as file:
        if file.read(len(head)) != head:
            return False
        file.seek(-len(tail), os.SEEK_END)
        return file.read() == tail


def _published(candidates: list[Published], path: str, size: int) -> Published | None:
    """Return the published file that this one is, by its SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    found = digest.hexdigest()
    return next((real for real in candidates if real.matches(size, found)), None)


@contextmanager
def _samples(model: ZooModel, folder: str) -> Iterator[None]:
    """Write the test data set, and take away what was new of it if anything fails.

    A file that is there is left alone: it may be the real one.
    """
    from inferonnx.zoo.samples import sample_files

    written: list[str] = []
    try:
        for file_name, content in sample_files(model).items():
            path = os.path.join(folder, file_name)
            if not os.path.lexists(path):
                with whole_file(path) as file:
                    file.write(content)
                written.append(path)
        yield
    except BaseException:
        for path in written:
            os.unlink(path)
        raise


def _reserve(file: BinaryIO, n_bytes: int, path: str) -> None:
    """Ask for the disk space at once: half a gigabyte is a long way to find out that it is full."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        # Not every file system can reserve; writing will show whether there is space.
        if is_full(error):
            raise translate(error, path, "writing") from error


def _write_model(plan: Blueprint, seed: int, file: BinaryIO, progress: Progress | None) -> None:
    """Write the model piece by piece."""
    total = plan.size_bytes(metadata(seed))
    done = 0
    told = -1
    for piece in plan.serialise(seed, metadata(seed)):
        file.write(piece)
        done += len(piece)
        percent = 100 * done // total
        if progress is not None and percent != told:
            progress(done, total)
            told = percent
