"""What the peers are measured on: the zoo's models, sealed, whole, and in partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferonnx.bench.models import bench_cases
from inferonnx.bench.peers import Files, Subject
from inferonnx.errors import InferonnxError
from inferonnx.model.chain import INDEX, load_chain, read_original

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Progress = Callable[[str], None]
    Cut = Callable[[str, str, str, Progress], object]

SUITE = "aes-256-gcm"


def peer_subjects(
    names: Sequence[str],
    *,
    models: Path,
    partitions: str,
    work: Path,
    cut: Cut,
    progress: Progress,
) -> tuple[Path, list[Subject], dict[str, InferonnxError]]:
    """Build and seal models, and find their partitions; make those that are missing.

    Args:
        names: Models of the zoo.
        models: Folder of the zoo's models.
        partitions: Folder within a model's folder.
        work: Folder for key, sealed files and samples.
        cut: Makes partitions as the paper's commands do: takes a model's name and file, the
            folder's name, and whom to tell.
        progress: Told what happens.

    Returns:
        The key file; the models; by name, what kept a model from being sealed.

    Raises:
        UsageError: The zoo has no model of such a name; nothing was done.
    """
    key, cases, failed = bench_cases(
        names, models=models, work=work, suites=[SUITE], progress=progress
    )
    subjects = [
        Subject(
            name=name,
            onnx=path,
            sealed=sealed[SUITE],
            samples=tuple(map(str, samples)),
            entire=_entire(path),
            partitions=_partitions(name, path, models / name / partitions, cut, progress),
        )
        for name, path, sealed, samples in cases
    ]
    return key, subjects, failed


def _entire(path: Path) -> Files:
    original = read_original(str(path))
    inputs = tuple(value.name for value in original.inputs)
    outputs = tuple(value.name for value in original.outputs)
    return Files(((str(path), inputs, outputs),), outputs)


def _partitions(name: str, path: Path, folder: Path, cut: Cut, progress: Progress) -> Files | str:
    """Return the files of the partitions, or why there are none."""
    try:
        if not (folder / INDEX).exists():
            progress(f"{name}: making {folder}")
            cut(name, str(path), folder.name, progress)
        chain = load_chain(str(folder), model_path=str(path))
    except InferonnxError as error:  # the model whole is measured all the same
        return error.message
    links = tuple((chain.path(link), link.inputs, link.outputs) for link in chain.links)
    return Files(links, chain.outputs)
