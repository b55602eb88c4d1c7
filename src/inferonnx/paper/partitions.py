"""A model's folder: its sample, and the partitions and operators that are made in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from inferonnx.app.owner.partitioning import (
    PAPER_LIMIT_BYTES,
    Operator,
    Partitioned,
    check_partitions_agree,
    measured_graph,
    operator_peaks,
    partition,
    verify_partitions,
)
from inferonnx.app.owner.planning import memory_intensive_operators
from inferonnx.app.owner.samples import load_arrays
from inferonnx.errors import DifferenceError, UsageError
from inferonnx.paper.artifact import OVERHEAD_FOLDER, PARTITIONS
from inferonnx.paper.overheads import operator_names, overheads_path
from inferonnx.zoo import MODELS, sample_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inferonnx.app.host.comparing import Difference
    from inferonnx.graph import Graph

    Progress = Callable[[str], None]

SAMPLE = "test_data_set_0"
"""Folder of a model's input, as the ONNX model zoo calls it."""

FIGURES = "operators.json"
"""What was measured of a model's operators, for all its folders."""

_SEEDS = (1, 2)


class Compared(NamedTuple):
    """A model beside a chain of files.

    Attributes:
        n_partitions: Files of the chain.
        n_samples: Inputs that were compared.
        difference: The largest over all of them.
        problem: What is not tolerated; "" where all is.
    """

    n_partitions: int
    n_samples: int
    difference: Difference
    problem: str


def folder_name(text: str) -> str:
    """Return the name of a folder in each model's folder, as the artifact takes it: "partitions/".

    Raises:
        UsageError: It is a path.
    """
    name = text.rstrip("/")
    if not name or name != os.path.basename(name) or name in (".", ".."):
        raise UsageError(
            f"{text!r} is no name of a folder in each model's folder",
            hint="For example partitions/.",
        )
    return name


def model_sample(path: str) -> Mapping[str, Any] | None:
    """Return the input that lies beside a model, None where none does."""
    folder = os.path.join(os.path.dirname(path), SAMPLE)
    return load_arrays(path, folder)[0] if os.path.isdir(folder) else None


def model_operators(path: str, *, progress: Progress = lambda _: None) -> tuple[Operator, ...]:
    """Return a model's operators with their own peaks, measured once for all its folders."""
    cache = os.path.join(os.path.dirname(path), FIGURES)
    return operator_peaks(path, sample=model_sample(path), cache=cache, progress=progress)


def model_graph(path: str, *, progress: Progress = lambda _: None) -> Graph:
    """Return a model's original graph with exact bytes, measured once for all its folders."""
    cache = os.path.join(os.path.dirname(path), FIGURES)
    return measured_graph(path, sample=model_sample(path), cache=cache, progress=progress)


def memory_intensive(
    name: str,
    path: str,
    *,
    overheads: str = OVERHEAD_FOLDER,
    progress: Progress = lambda _: None,
) -> frozenset[int]:
    """Return the operators of a model that the list of slow ones names, by index.

    Raises:
        UsageError: The list names operators that the model does not have.
        PlanError: The list is not of its form.
    """
    listing = overheads_path(overheads)
    listed = memory_intensive_operators(listing, name) if os.path.exists(listing) else frozenset()
    if not listed:
        return frozenset()
    operators = model_operators(path, progress=progress)
    names = operator_names([operator.name for operator in operators])
    unknown = sorted(listed.difference(names))
    if unknown:
        raise UsageError(
            f"{listing!r} is stale: it lists {unknown[0]!r}, which {name} does not have",
            hint="Make it anew with determine_memory_intensive_ops.py, or move it away.",
        )
    return frozenset(index for index, one in enumerate(names) if one in listed)


def make_partitions(
    name: str,
    path: str,
    folder: str = PARTITIONS,
    *,
    strategy: str = "paper",
    limit_bytes: int = PAPER_LIMIT_BYTES,
    overheads: str = OVERHEAD_FOLDER,
    progress: Progress = lambda _: None,
) -> Partitioned:
    """Cut a model into the folder of that name beside it, unless that is done and unchanged.

    Args:
        name: The model's, as the list of slow operators has it.
        path: Its ONNX file.
        folder: Name of the folder.
        strategy: "paper" or "operators".
        limit_bytes: For "paper": what own peaks add up to.
        overheads: Folder of the list of operators that stand alone.
        progress: Told what happens.

    Raises:
        UsageError: A file in the way; a stale list.
        ModelError: The model can't be read or run.
        UnavailableError: The disk is full or refuses.
    """
    is_paper = strategy == "paper"
    alone = memory_intensive(name, path, overheads=overheads, progress=progress)
    return partition(
        path,
        os.path.join(os.path.dirname(path), folder),
        strategy=strategy,
        limit_bytes=limit_bytes if is_paper else None,
        memory_intensive=alone if is_paper else frozenset(),
        sample=model_sample(path),
        cache=os.path.join(os.path.dirname(path), FIGURES),
        progress=progress,
    )


def compare_with_model(
    name: str, path: str, folder: str, *, progress: Progress = lambda _: None
) -> Compared:
    """Run a model and the chain in a folder beside it on the same inputs.

    The inputs are the one beside the model and, for a model of the zoo, two more of
    its kind.

    Raises:
        UsageError: The folder is missing, empty, or of another model.
        ModelError: A file is missing or damaged.
    """
    sample = model_sample(path)
    samples = [] if sample is None else [sample]
    samples += [sample_inputs(name, seed) for seed in _SEEDS] if name in MODELS else []
    home = os.path.join(os.path.dirname(path), folder)
    chain, difference = verify_partitions(path, home, samples=samples, progress=progress)
    try:
        check_partitions_agree(difference)
        problem = ""
    except DifferenceError as error:
        problem = error.message
    return Compared(len(chain.links), max(len(samples), 1), difference, problem)
